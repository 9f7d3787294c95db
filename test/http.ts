import { type AddressInfo, connect } from 'node:net'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { build, PASSWORD, type TestApp } from './helper.ts'

export const FORM = 'application/x-www-form-urlencoded'
export const PROBLEM = 'application/problem+json; charset=utf-8'
export const MALFORMED = 'The request is malformed'
export const NOT_AS_DESCRIBED = 'The request does not have the form that the documentation describes'
export const LOGIN = { grant_type: 'password', username: 'alice', password: PASSWORD }

const TITLE: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable'
}
export const problem = (status: number, detail: string) => ({
  type: 'about:blank',
  title: TITLE[status],
  status,
  detail
})

/** Returns status, media type, caching and body of an answer. */
export const refusal = ({ statusCode, headers, body }: LightMyRequestResponse) => ({
  status: statusCode,
  type: headers['content-type'],
  cache: headers['cache-control'],
  body: body === '' ? '' : JSON.parse(body)
})

export const asProblem = (status: number, detail: string) => ({
  status,
  type: PROBLEM,
  cache: 'no-store',
  body: problem(status, detail)
})

export const asOAuthError = (status: number, error: string, error_description: string) => ({
  status,
  type: 'application/json; charset=utf-8',
  cache: 'no-store',
  body: { error, error_description }
})

/** Returns the refusal without its list of errors, and the distinct pointers of that list. */
export function withPointers(response: LightMyRequestResponse) {
  const { body, ...rest } = refusal(response)
  const { errors = [], ...others } = body as { errors?: { pointer: string; detail: string }[] }
  return { answer: { ...rest, body: others }, pointers: [...new Set(errors.map(({ pointer }) => pointer))] }
}

let shared: Promise<TestApp> | undefined

/** Returns the app that all tests of a process share. They may add users to it, but change only the profile of alice. */
export function sharedApp(): Promise<TestApp> {
  shared ??= build(t)
  return shared
}

/** Returns the shared app with a token of alice, `patch` for `PATCH /users/me`, and `me` for her profile. */
export async function asAlice() {
  const app = await sharedApp()
  const token = await app.login('alice')
  const patch = (payload: string | Buffer, contentType: string | null = 'application/json') =>
    app.inject({
      method: 'PATCH',
      url: '/users/me',
      payload,
      headers: { authorization: `Bearer ${token}`, ...(contentType === null ? {} : { 'content-type': contentType }) }
    })
  const me = async () => (await app.get('/users/me', token)).json()
  return { ...app, bearer: token, patch, me }
}

/** Sends `POST /token`, or another path, with a form as it stands. */
export const sendForm = (
  app: TestApp,
  payload: string | Buffer,
  { url = '/token', headers = {} }: { url?: string; headers?: Record<string, string> } = {}
) => app.inject({ method: 'POST', url, headers: { 'content-type': FORM, ...headers }, payload })

/** The longest wait for an answer. */
const PATIENCE_MS = 20_000

/** Sends bytes over a connection. Returns the answer, and whether the server closed the connection. */
export async function sendBytes(app: FastifyInstance, bytes: string | Buffer) {
  if (app.server.address() === null) await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  const closed = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(resolve, PATIENCE_MS, false)
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(true)
    })
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk
      if (isComplete(text)) resolve(false)
    })
    socket.write(bytes)
  })
  socket.destroy()
  const [head = '', body = ''] = text.split('\r\n\r\n')
  return {
    closed,
    text,
    status: Number(head.split(' ')[1]),
    type: /content-type: (.*)/i.exec(head)?.[1],
    body: body.startsWith('{') ? JSON.parse(body) : body
  }
}

/** Sends bytes over a connection that the server closes. Returns everything that arrived. */
export async function receiveAll(app: FastifyInstance, bytes: string | Buffer): Promise<string> {
  if (app.server.address() === null) await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', () => {})
  socket.write(bytes)
  await new Promise((resolve) => socket.on('close', resolve))
  return text
}

/** Returns whether a text is an answer with all of its body, on a connection that stays open. */
function isComplete(text: string): boolean {
  const [head = '', body = ''] = text.split('\r\n\r\n')
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
  return !/connection: close/i.test(head) && body.length >= length
}
