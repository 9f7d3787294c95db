/**
 * Keeps the login of the pages: renews the login after half of the lifetime of the access token, and ends the session at Logout. The
 * user has at most one login, by the code flow or by password.
 *
 * With `storesLogin` the refresh token is in one entry of localStorage that all tabs share. A tab reads and writes the entry under a
 * lock, because a refresh token is valid once. Without `storesLogin`, and without navigator.locks, which browsers have in secure contexts
 * only, the login stays in memory. Passwords and client secrets are never stored, and a login with another client is not stored either.
 *
 * @typedef {{ id: string, scheme: string, username?: string, refreshToken: string }} Login `id` identifies the login and stays the same
 *   after a renewal
 */

const CONFIG = window.latchkeyDocs
const SCHEMES = ['code', 'password']
/** The base URL of Latchkey. Its own pages use the address by which the browser has reached them. */
const BASE = CONFIG.isOwn ? new URL('../../../', document.currentScript.src) : new URL(`${CONFIG.issuer}/`)
const KEY = `latchkey:${BASE.pathname}`
/**
 * A request and its first repetition are within `TIMEOUT_MS` + `FIRST_RETRY_MS`. This is less than the default leeway, in which a refresh
 * token may be used again after a lost response.
 */
const TIMEOUT_MS = 5000
const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 30_000

/** Swagger UI; undefined until it is created. */
let ui
/** The login that this tab shows; null when the tab shows no login, or a login that is not stored. */
let shown = null
let accessToken = ''
let dueAt = 0
let failures = 0
let timer

function inMemory() {
  let text = null
  return {
    getItem: () => text,
    setItem: (_key, value) => {
      text = value
    },
    removeItem: () => {
      text = null
    }
  }
}

function sharedStorage() {
  try {
    return navigator.locks && window.localStorage
  } catch {
    return undefined
  }
}

const shared = CONFIG.storesLogin ? sharedStorage() : undefined
const storage = shared ?? inMemory()
let last = Promise.resolve()
const inTurn = (work) => (shared ? navigator.locks.request(KEY, work) : (last = last.then(work)))

function read() {
  try {
    return JSON.parse(storage.getItem(KEY))
  } catch {
    return null
  }
}

const write = (login) => storage.setItem(KEY, JSON.stringify(login))

const post = (path, form, options) =>
  fetch(new URL(path, BASE), {
    method: 'POST',
    body: new URLSearchParams(form),
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...options
  })

const later = (span) => {
  clearTimeout(timer)
  timer = setTimeout(() => sync(true), span)
}

const backoff = (failed) => Math.min(FIRST_RETRY_MS * 2 ** failed, LAST_RETRY_MS)

/** Remembers a login as the login of this tab and schedules its renewal. @param since the time before the request for the token */
function hold(login, token, since) {
  shown = login
  failures = 0
  accessToken = token.access_token
  dueAt = since + token.expires_in * 500
  later(dueAt - Date.now())
}

function showLoggedOut() {
  clearTimeout(timer)
  if (shown === null) return
  shown = null
  showOnly(null)
}

/** Removes what the page shows of logins with another scheme. */
function showOnly(scheme) {
  const others = SCHEMES.filter((each) => each !== scheme && ui.authSelectors.authorized()?.has(each))
  if (others.length > 0) ui.authActions.logout(others)
}

/**
 * Renews the stored login when it is due, when forced, or when this tab does not show it yet. Without a stored login, shows that the
 * user is logged out.
 */
function sync(forced = false) {
  return inTurn(async () => {
    const before = shown
    const stored = read()
    if (stored === null) return showLoggedOut()
    if (stored.id === before?.id && Date.now() < dueAt && !forced) return
    const since = Date.now()
    try {
      const { refreshToken, scheme } = stored
      const form = { grant_type: 'refresh_token', client_id: CONFIG.clientId, refresh_token: refreshToken }
      const response = await post('token', form)
      if (response.status === 400 || response.status === 401) {
        storage.removeItem(KEY)
        return showLoggedOut()
      }
      if (!response.ok)
        return later(Math.max(backoff(failures++), 1000 * (Number(response.headers.get('retry-after')) || 0)))
      const token = await response.json()
      const login = { ...stored, refreshToken: token.refresh_token ?? refreshToken }
      write(login)
      if (shown !== before) return
      hold(login, token, since)
      const auth = { name: scheme, username: stored.username, scopes: token.scope.split(' ') }
      showOnly(scheme)
      ui.authActions.authorizeOauth2({ auth, token })
    } catch {
      later(backoff(failures++))
    }
  })
}

/** Ends the session of a login, also if the page is closed in the meantime. The server accepts every refresh token of the session. */
async function revoke({ refreshToken }, failed = 0) {
  const again = () => setTimeout(() => revoke({ refreshToken }, failed + 1), backoff(failed))
  try {
    const { status } = await post('revoke', { client_id: CONFIG.clientId, token: refreshToken }, { keepalive: true })
    if (status === 429 || status >= 500) again()
  } catch {
    again()
  }
}

/** Stores a new login in place of the previous login, and ends the session of the previous login. */
function loggedIn({ name: scheme, username, clientId = '', clientSecret }, token) {
  const since = Date.now()
  showOnly(scheme)
  return inTurn(() => {
    const previous = read()
    clearTimeout(timer)
    if (!['', CONFIG.clientId].includes(clientId) || clientSecret || !token.refresh_token) {
      shown = null
      storage.removeItem(KEY)
    } else {
      const id = Array.from(crypto.getRandomValues(new Uint32Array(4))).join('-')
      hold({ id, scheme, username, refreshToken: token.refresh_token }, token, since)
      write(shown)
    }
    if (previous !== null) void revoke(previous)
  })
}

function loggedOut() {
  const login = shown
  if (login === null) return
  shown = null
  clearTimeout(timer)
  void revoke(login)
  inTurn(() => {
    if (read()?.id === login.id) storage.removeItem(KEY)
  })
}

const wrapActions = {
  authorizeOauth2WithPersistOption: (original) => (payload) => {
    original(payload)
    if (SCHEMES.includes(payload.auth.name)) loggedIn(payload.auth, payload.token)
  },
  logoutWithPersistOption: (original) => (names) => {
    original(names)
    if (names.includes(shown?.scheme)) loggedOut()
  }
}

/** Renews the login before a request if the renewal is due, because the timers of a sleeping tab do not run. */
async function requestInterceptor(request) {
  const header = `Bearer ${accessToken}`
  if (shown === null || request.headers?.Authorization !== header) return request
  await sync()
  request.headers.Authorization = `Bearer ${accessToken}`
  return request
}

/** Renews the login after a refusal, to find out whether the session was ended elsewhere. */
function responseInterceptor(response) {
  if (response.status === 401 && shown !== null) sync(true)
  return response
}

window.SwaggerUIBundle = new Proxy(window.SwaggerUIBundle, {
  apply(bundle, _this, [config]) {
    const plugins = [...config.plugins, { statePlugins: { auth: { wrapActions } } }]
    ui = bundle({ ...config, plugins, requestInterceptor, responseInterceptor })
    for (const event of ['pageshow', 'visibilitychange', 'online', 'storage']) addEventListener(event, () => sync())
    return ui
  }
})
