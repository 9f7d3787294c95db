import { printableLine } from './printable.ts'

const LEVELS: Record<number, string> = { 10: 'TRACE', 20: 'DEBUG', 30: 'INFO', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' }
/** Characters of the id of a request that a line shows. They are enough to find the other lines of the request. */
const ID_LENGTH = 8

const text = (value: unknown): string => printableLine(typeof value === 'string' ? value : JSON.stringify(value))
const clock = (time: unknown): string => new Date(Number(time)).toTimeString().slice(0, 8)

/** Returns `name=value` for each member. */
const pairs = (members: Record<string, unknown>): string[] =>
  Object.entries(members).map(([name, value]) => `${text(name)}=${text(value)}`)

/** Returns the stack of an error, each line indented. */
const stackOf = ({ stack, message }: { stack?: string; message?: string }): string =>
  (stack ?? message ?? '')
    .split('\n')
    .map((line) => `\n    ${printableLine(line)}`)
    .join('')

/**
 * Returns a line of the log for a person: time, level, message, then the other members. A line of a request begins with its method, path,
 * status and milliseconds. Returns a text that is not a JSON object unchanged.
 */
export function prettyLine(json: string): string {
  let line: Record<string, unknown>
  try {
    line = JSON.parse(json)
  } catch {
    return json
  }
  if (typeof line !== 'object' || line === null) return json
  const { level, time, msg, reqId, err, pid: _pid, hostname: _hostname, ...rest } = line
  const { method, path, status, ms, ...others } = rest
  const isRequest = msg === 'request' && path !== undefined
  const head = isRequest ? `${text(method)} ${text(path)} ${text(status)} ${text(ms)} ms` : text(msg ?? '')
  const id = typeof reqId === 'string' ? [`req=${text(reqId.slice(0, ID_LENGTH))}`] : []
  const words = [
    clock(time),
    (LEVELS[Number(level)] ?? text(level)).padEnd(5),
    head,
    ...pairs(isRequest ? others : rest),
    ...id
  ]
  return `${words.join(' ')}${err === undefined ? '' : stackOf(err as object)}\n`
}
