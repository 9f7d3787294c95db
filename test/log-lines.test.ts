import t from 'tap'
import { prettyLine } from '../src/log-lines.ts'

const AT = new Date(2026, 10, 26, 9, 5, 7).getTime()
const shown = (members: object) =>
  prettyLine(`${JSON.stringify({ level: 30, time: AT, pid: 1, hostname: 'h', ...members })}\n`)

t.test('a line for a person has time, level, message and the other members', async (t) => {
  t.equal(shown({ msg: 'Server listening' }), '09:05:07 INFO  Server listening\n')
  t.equal(
    shown({ level: 40, msg: 'login', subject: { user: 'alice' }, reason: 'two words', reqId: '0a1b2c3d-4e5f-6071' }),
    '09:05:07 WARN  login subject={"user":"alice"} reason=two words req=0a1b2c3d\n'
  )
  t.equal(shown({ level: 35 }), '09:05:07 35    \n')
})

t.test('a line of a request begins with its method, path, status and time', async (t) => {
  const request = { method: 'GET', path: '/users/me', status: 200, ms: 3, user: 'u1', client: 'docs' }
  t.equal(
    shown({ ...request, reqId: '0a1b2c3d-4e5f', msg: 'request' }),
    '09:05:07 INFO  GET /users/me 200 3 ms user=u1 client=docs req=0a1b2c3d\n'
  )
})

t.test('the stack of an error follows its line', async (t) => {
  t.equal(
    shown({ level: 50, msg: 'failed', err: { type: 'Error', message: 'no', stack: 'Error: no\n    at x' } }),
    '09:05:07 ERROR failed\n    Error: no\n        at x\n'
  )
  t.equal(shown({ level: 60, msg: 'failed', err: { message: 'no' } }), '09:05:07 FATAL failed\n    no\n')
})

t.test('no member writes a control or bidi character, or a line of its own [UA10]', async (t) => {
  const hostile = 'a\u001b[2J\u202e\n09:05:07 INFO  forged'
  const line = shown({
    msg: hostile,
    path: hostile,
    [hostile]: hostile,
    reqId: hostile,
    level: hostile,
    err: { stack: hostile }
  })
  t.notMatch(line, /[^\P{Cc}\n]|\p{Bidi_Control}/u)
  t.equal(line.split('\n').length, 4)
  t.notMatch(line, /^09:05:07 INFO {2}forged/m)
})

t.test('text that is not a JSON object stays as it is', async (t) => {
  for (const text of ['plain\n', '1\n', 'null\n', '"x"\n']) t.equal(prettyLine(text), text)
})
