/** The figures of one run. Rates are requests per second, CPU times are microseconds for each request. */
export interface Figures {
  rate: number
  cpu: number
  postgresCpu: number
}

export type ServerName = 'bare' | 'node-oauth' | 'oidc-provider' | 'sqlite' | 'postgres'

/** Figures by work and server. A server has no figures for a work that it does not do. */
export type Table = Map<string, Partial<Record<ServerName, Figures>>>

export interface Goal {
  text: string
  value: number
  goal: number
  /** Whether a smaller value is better. */
  isUpperBound: boolean
  digits: number
}

const rateOf = (table: Table, work: string, server: ServerName): number => table.get(work)?.[server]?.rate ?? Number.NaN

/** Returns the rate of the fastest server that Latchkey is compared with. */
const bestPeer = (table: Table, work: string): number =>
  Math.max(rateOf(table, work, 'node-oauth'), rateOf(table, work, 'oidc-provider'))

/** [work, share of bare Fastify, multiple of the best peer] */
const SHARES: [string, number | null, number][] = [
  ['client_credentials', 0.65, 1.5],
  ['me', 0.45, 2.5],
  ['introspect', 0.3, 1.7],
  ['refresh', null, 1],
  ['refresh, 64 connections', null, 1.2]
]

export const atLeast = (text: string, value: number, goal: number, digits = 2): Goal => ({
  text,
  value,
  goal,
  isUpperBound: false,
  digits
})

export const atMost = (text: string, value: number, goal: number, digits = 2): Goal => ({
  text,
  value,
  goal,
  isUpperBound: true,
  digits
})

/** Returns the goals for the rates of the table. */
export function goalsOf(table: Table): Goal[] {
  return SHARES.flatMap(([work, ofBare, ofPeer]) => {
    const rate = rateOf(table, work, 'sqlite')
    const peer = atLeast(`${work}, multiple of the best peer`, rate / bestPeer(table, work), ofPeer)
    return ofBare === null
      ? [peer]
      : [atLeast(`${work}, share of bare Fastify`, rate / rateOf(table, work, 'bare'), ofBare), peer]
  })
}

export const isMet = ({ value, goal, isUpperBound }: Goal): boolean => (isUpperBound ? value <= goal : value >= goal)

/** Returns whether a value is worse than half of its goal, or is missing (NaN). */
export const isFarOff = ({ value, goal, isUpperBound }: Goal): boolean =>
  !(isUpperBound ? value <= goal * 2 : value >= goal / 2)

export const lineOf = (goal: Goal): string => {
  const { text, value, isUpperBound, digits } = goal
  return `${text.padEnd(62)} ${value.toFixed(digits).padStart(8)}  ${isUpperBound ? '≤' : '≥'} ${goal.goal}${isMet(goal) ? '' : '  NOT MET'}`
}
