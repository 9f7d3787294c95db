import type { Client, Scope, User } from '../../src/domain/model.ts'
import type { ErrorReason, FieldRefusal, SignInRefusal } from './reasons.ts'

/** The members of a client that pages show. A `Client` is one. */
export type ShownClient = Pick<Client, 'id' | 'name' | 'clientUri' | 'logoUri' | 'policyUri' | 'tosUri'>

/** Where a form is posted to, and the token that proves that the form is ours. The field of the token is `form_token`. */
export interface Form {
  action: string
  token: string
}

/** Where the browser may go after a form of the page was posted: the redirect URI of the client. Null for pages of this service only. */
export interface Returning {
  returnsTo: string | null
}

/** A user of the account pages. */
interface Account {
  user: Pick<User, 'username' | 'fullName' | 'email'>
  form: Form
  /** Whether the last change was stored. */
  isSaved: boolean
  refusal: FieldRefusal | null
}

/** A place where a user is signed in. */
export interface Place {
  id: string
  /** The User-Agent header of the sign-in. */
  userAgent: string | null
  address: string | null
  signedInAt: number
  lastUsedAt: number
}

/** The data of each page. */
export interface Pages {
  /** The first page of the service. */
  home: object

  /** Posts `username` and `password`. */
  'sign-in': Returning & {
    /** Null for a sign-in to the account pages. */
    client: ShownClient | null
    form: Form
    /** The value of the field. */
    username: string
    /** Whether only this user may sign in, because the client has named them with `id_token_hint`. */
    isSameUser: boolean
    refusal: SignInRefusal | null
  }

  /** Posts `login`: the id of the chosen login. */
  'choose-account': Returning & {
    client: ShownClient | null
    form: Form
    accounts: { loginId: string; username: string; fullName: string | null }[]
    /** The URL of the link "Use another account". */
    other: string
  }

  /**
   * Posts `decision`, which is `allow` or `deny`, and one field for each scope that the user allows, because no parameter may repeat:
   * its name is `scope:` and the scope. Has no field for `openid`.
   */
  consent: Returning & {
    client: ShownClient
    form: Form
    username: string
    scopes: Pick<Scope, 'name' | 'description'>[]
    returnsTo: string
    /** The URL of the link "Use another account"; null when only this user may continue. */
    other: string | null
  }

  /** Takes a response to the client, in a form that the script or the user posts (OAuth 2.0 Form Post Response Mode). */
  'form-post': { redirectUri: string; fields: Record<string, string> }

  /** Goes on to `url`, which belongs to a client: by itself, or by a link. */
  returning: { url: string }

  /** Asks whether the user wants to sign out. */
  'sign-out': Returning & { form: Form; username: string }

  /**
   * `returnsTo` is the URL of a link to the client, shown if it is not null. `stays`: the client has asked for a return to an address that
   * it has not registered.
   */
  'signed-out': { client: Pick<Client, 'name'> | null; returnsTo: string | null; stays: boolean }

  /** `retryAfter` is in seconds. */
  error: { reason: ErrorReason; retryAfter?: number | undefined }

  account: Account & { values: { fullName: string; email: string } }
  'account-password': Account & { minLength: number }
  'account-sessions': Account & {
    browsers: (Place & { isCurrent: boolean })[]
    apps: (Place & { client: Pick<Client, 'id' | 'name'> })[]
  }
  'account-apps': Account & {
    apps: {
      client: ShownClient
      scopes: Pick<Scope, 'name' | 'description'>[]
      allowedAt: number
    }[]
    /** The URL of the next part of the list; null at its end. */
    next: string | null
  }
}

export type PageName = keyof Pages
