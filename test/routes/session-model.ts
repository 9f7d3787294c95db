/** Span in milliseconds after a rotation in which the previous refresh token still returns its successor. */
const LEEWAY = 60_000
const ACCESS = 300_000
export const IDLE = 3_600_000
const ABSOLUTE = 12 * 3_600_000
/** How long after its expiry a session can still be ended: the clock of another instance may be behind. */
const LAG = 60_000
/** The roles of the user, and the scope that each allows. */
const SCOPES: Record<string, string> = { user: 'account', reader: 'users:read' }

export interface ModelAccessToken {
  token: string
  scopes: string[]
  /** A whole second, as in the claim. */
  expiresAt: number
  revoked: boolean
  session: ModelSession
}

export interface ModelSession {
  id: string
  scopes: string[]
  /** Ordered by counter: the last one is current. */
  refreshTokens: string[]
  rotatedAt: number
  idleExpiresAt: number
  expiresAt: number
  ended: boolean
}

/** The outcome that a refresh must have. */
export type Renewal = 'rotated' | 'retried' | 'replayed' | 'invalid_scope' | 'disabled' | 'no session'

/** Predicts the state of one user with their sessions and tokens, without a database. */
export class Model {
  now: number
  enabled = true
  password: string
  roles = Object.keys(SCOPES)
  sessions: ModelSession[] = []
  accessTokens: ModelAccessToken[] = []

  constructor(now: number, password: string) {
    this.now = now
    this.password = password
  }

  /** Returns those of the scopes that the roles of the user allow now. */
  allowed(scopes: string[]): string[] {
    return scopes.filter((scope) => this.roles.some((role) => SCOPES[role] === scope)).sort()
  }
  isActive({ ended, idleExpiresAt }: ModelSession): boolean {
    return !ended && this.now < idleExpiresAt
  }
  canBeEnded({ ended, idleExpiresAt }: ModelSession): boolean {
    return !ended && this.now - LAG < idleExpiresAt
  }
  activeSessions(): ModelSession[] {
    return this.sessions.filter((session) => this.isActive(session))
  }
  end(sessions: ModelSession[]): void {
    for (const session of sessions) session.ended = true
  }
  /** Returns the status of `GET /users/me/sessions` with this token. */
  status({ session, scopes, expiresAt, revoked }: ModelAccessToken): number {
    if (revoked || !this.enabled || this.now >= expiresAt || !this.isActive(session)) return 401
    return this.allowed(scopes).includes('account') ? 200 : 403
  }
  /** Returns whether introspection reports this refresh token as active. */
  isCurrent(session: ModelSession, counter: number): boolean {
    const isNewest = counter === session.refreshTokens.length - 1
    return this.enabled && this.isActive(session) && isNewest && this.allowed(session.scopes).length > 0
  }
  /** @param scopes those that the new access token would have */
  renewal(session: ModelSession, counter: number, scopes: string[]): Renewal {
    if (!this.isActive(session)) return 'no session'
    if (!this.enabled) return 'disabled'
    const age = session.refreshTokens.length - 1 - counter
    const isRetry = age === 1 && this.now - session.rotatedAt < LEEWAY
    if (age > 0 && !isRetry) return 'replayed'
    if (scopes.length === 0) return 'invalid_scope'
    return isRetry ? 'retried' : 'rotated'
  }

  open(id: string, scopes: string[], refreshToken: string): ModelSession {
    const session = {
      id,
      scopes,
      refreshTokens: [refreshToken],
      rotatedAt: 0,
      idleExpiresAt: this.now + IDLE,
      expiresAt: this.now + ABSOLUTE,
      ended: false
    }
    this.sessions.push(session)
    return session
  }
  rotate(session: ModelSession, refreshToken: string): void {
    session.refreshTokens.push(refreshToken)
    session.rotatedAt = this.now
    session.idleExpiresAt = Math.min(this.now + IDLE, session.expiresAt)
  }
  issue(session: ModelSession, token: string, scopes: string[]): void {
    const expiresAt = Math.floor(this.now / 1000) * 1000 + ACCESS
    this.accessTokens.push({ token, scopes, expiresAt, revoked: false, session })
  }
}
