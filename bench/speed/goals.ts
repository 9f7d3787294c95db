/** The figures of one run. Rates are requests per second, CPU times are microseconds for each request. */
export interface Figures {
  rate: number
  cpu: number
  postgresCpu: number
}

export type ServerName = 'bare' | 'floor' | 'node-oauth' | 'oidc-provider' | 'sqlite' | 'postgres'

/** Figures by work and server. A server has no figures for a work that it does not do. */
export type Table = Map<string, Partial<Record<ServerName, Figures>>>

export interface Goal {
  text: string
  value: number
  goal: number
  /** Whether a smaller value is better. */
  isUpperBound: boolean
  digits: number
  /** The value of the floor (floor.ts). Null when it is not measured. */
  floor: number | null
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
  digits,
  floor: null
})

export const atMost = (text: string, value: number, goal: number, digits = 2): Goal => ({
  text,
  value,
  goal,
  isUpperBound: true,
  digits,
  floor: null
})

/** Returns the goals for the rates of the table. */
export function goalsOf(table: Table): Goal[] {
  return SHARES.flatMap(([work, ofBare, ofPeer]) => {
    const compared = (text: string, rate: number, goal: number): Goal => ({
      ...atLeast(`${work}, ${text}`, rateOf(table, work, 'sqlite') / rate, goal),
      floor: rateOf(table, work, 'floor') / rate
    })
    const peer = compared('multiple of the best peer', bestPeer(table, work), ofPeer)
    return ofBare === null ? [peer] : [compared('share of bare Fastify', rateOf(table, work, 'bare'), ofBare), peer]
  })
}

export const isMet = ({ value, goal, isUpperBound }: Goal): boolean => (isUpperBound ? value <= goal : value >= goal)

/** Returns whether a value is worse than half of its goal, or of the floor if this is below the goal. So is a missing value (NaN). */
export const isFarOff = ({ value, goal, floor, isUpperBound }: Goal): boolean =>
  !(isUpperBound ? value <= goal * 2 : value >= Math.min(goal, floor ?? goal) / 2)

export const lineOf = (goal: Goal): string => {
  const { text, value, isUpperBound, digits, floor } = goal
  const ofFloor = floor === null ? '' : `  (floor ${floor.toFixed(digits)})`
  return `${text.padEnd(67)} ${value.toFixed(digits).padStart(8)}  ${isUpperBound ? '≤' : '≥'} ${goal.goal}${ofFloor}${isMet(goal) ? '' : '  NOT MET'}`
}
