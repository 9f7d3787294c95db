/**
 * Keeps the login of /docs: renews it when half of the access token's life is over, and ends it on the server at Logout.
 *
 * What renews it is one entry of localStorage that all tabs share. It is touched only by the tab whose turn it is, for a
 * refresh token is good once. Without navigator.locks, which browsers have in secure contexts only, it stays in memory.
 * Passwords and client secrets are kept nowhere; a login with client fields filled in is not kept at all.
 *
 * @typedef {{ id: string, username: string, refreshToken: string }} Login `id` tells one login from the next
 */

const SCHEME = 'password'
const BASE = new URL('../../../', document.currentScript.src)
const KEY = `latchkey:${BASE.pathname}`
/** Together less than the leeway in which a refresh token whose answer was lost is good once more. */
const TIMEOUT_MS = 5000
const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 30_000

/** Swagger UI, once it is there. */
let ui
/** The login that this tab shows; null when it shows none, or one that is not kept. */
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

const shared = sharedStorage()
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

/** @param since when the token was asked for, at the latest */
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
  ui.authActions.logout([SCHEME])
}

/** Renews the login that is kept if that is due, forced, or news to this tab; shows none if none is kept. */
function sync(forced = false) {
  return inTurn(async () => {
    const before = shown
    const kept = read()
    if (kept === null) return showLoggedOut()
    if (kept.id === before?.id && Date.now() < dueAt && !forced) return
    const since = Date.now()
    try {
      const answer = await post('token', { grant_type: 'refresh_token', refresh_token: kept.refreshToken })
      if (answer.status === 400 || answer.status === 401) {
        storage.removeItem(KEY)
        return showLoggedOut()
      }
      if (!answer.ok)
        return later(Math.max(backoff(failures++), 1000 * (Number(answer.headers.get('retry-after')) || 0)))
      const token = await answer.json()
      const login = { ...kept, refreshToken: token.refresh_token ?? kept.refreshToken }
      write(login)
      if (shown !== before) return
      hold(login, token, since)
      const auth = { name: SCHEME, username: kept.username, scopes: token.scope.split(' ') }
      ui.authActions.authorizeOauth2({ auth, token })
    } catch {
      later(backoff(failures++))
    }
  })
}

/** Ends a login on the server, also when the page is closed meanwhile. Any refresh token that it ever had will do. */
async function revoke({ refreshToken }, failed = 0) {
  const again = () => setTimeout(() => revoke({ refreshToken }, failed + 1), backoff(failed))
  try {
    const { status } = await post('revoke', { token: refreshToken }, { keepalive: true })
    if (status === 429 || status >= 500) again()
  } catch {
    again()
  }
}

/** Keeps a new login in place of the one before, which ends. */
function loggedIn({ username, clientId, clientSecret }, token) {
  const since = Date.now()
  return inTurn(() => {
    const previous = read()
    clearTimeout(timer)
    if (clientId || clientSecret || !token.refresh_token) {
      shown = null
      storage.removeItem(KEY)
    } else {
      const id = Array.from(crypto.getRandomValues(new Uint32Array(4))).join('-')
      hold({ id, username, refreshToken: token.refresh_token }, token, since)
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
    if (payload.auth.name === SCHEME) loggedIn(payload.auth, payload.token)
  },
  logoutWithPersistOption: (original) => (names) => {
    original(names)
    if (names.includes(SCHEME)) loggedOut()
  }
}

/** A tab that was asleep renews before it asks. */
async function requestInterceptor(request) {
  const header = `Bearer ${accessToken}`
  if (shown === null || request.headers?.Authorization !== header) return request
  await sync()
  request.headers.Authorization = `Bearer ${accessToken}`
  return request
}

/** A refusal may mean that the login was ended elsewhere; then renewing it says so. */
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
