import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { type Figures, type Goal, isMet, type ServerName, type Table } from './goals.ts'

/** Figures with this number of users, each with one session. */
export interface Size {
  size: number
  figures: Record<string, Figures>
}

const SERVERS: [ServerName, string][] = [
  ['bare', 'bare Fastify'],
  ['floor', 'floor'],
  ['node-oauth', '@node-oauth/oauth2-server 5'],
  ['oidc-provider', 'oidc-provider 9'],
  ['sqlite', 'Latchkey, SQLite'],
  ['postgres', 'Latchkey, PostgreSQL']
]

const cell = (figures: Figures | undefined): string => {
  if (figures === undefined) return '–'
  const { rate, cpu, postgresCpu } = figures
  const database = postgresCpu > 0 ? ` + ${postgresCpu.toFixed(0)}` : ''
  return `${Math.round(rate).toLocaleString('en')} (${cpu.toFixed(0)}${database} µs)`
}

const row = (cells: string[]): string => `| ${cells.join(' | ')} |`

const tableOf = (table: Table): string[] => [
  row(['Work', ...SERVERS.map(([, title]) => title)]),
  row(['---', ...SERVERS.map(() => '---:')]),
  ...[...table].map(([work, figures]) => row([work, ...SERVERS.map(([name]) => cell(figures[name]))]))
]

const goalsOf = (goals: Goal[]): string[] => [
  row(['Figure', 'Measured', 'Floor', 'Goal', 'Met']),
  row(['---', '---:', '---:', '---:', '---']),
  ...goals.map((goal) => {
    const { text, value, goal: bound, isUpperBound, digits, floor } = goal
    return row([
      text,
      value.toFixed(digits),
      floor?.toFixed(digits) ?? '–',
      `${isUpperBound ? '≤' : '≥'} ${bound}`,
      isMet(goal) ? 'yes' : 'no'
    ])
  })
]

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 320, 60, 40]
const COLOURS = ['#2b4c9b', '#0a7d55', '#9b5b2b']

/** Draws the CPU time of each work against the number of users, on a logarithmic scale. */
function pictureOf(sizes: Size[]): string {
  const works = Object.keys(sizes[0]?.figures ?? {})
  const most = Math.max(...sizes.flatMap(({ figures }) => works.map((work) => figures[work]?.cpu ?? 0)))
  // From 1,000 to 1,000,000 users: three powers of ten. The names of the lines stand in the last 130 units.
  const x = (size: number) => LEFT + (Math.log10(size) - 3) * ((WIDTH - LEFT - 130) / 3)
  const y = (cpu: number) => HEIGHT - BOTTOM - (cpu / most) * (HEIGHT - BOTTOM - 20)
  const shown = sizes.filter(({ size }) => size > 0)
  const lines = works.map((work, index) => {
    const points = shown.map(({ size, figures }) => `${x(size)},${y(figures[work]?.cpu ?? 0)}`).join(' ')
    const end = y(shown.at(-1)?.figures[work]?.cpu ?? 0)
    return `<polyline fill="none" stroke="${COLOURS[index]}" stroke-width="2" points="${points}"/><text x="${x(1e6) + 8}" y="${end + 4}" fill="${COLOURS[index]}">${work}</text>`
  })
  const ticks = shown.map(
    ({ size }) =>
      `<text x="${x(size)}" y="${HEIGHT - BOTTOM + 20}" text-anchor="middle">${size.toLocaleString('en')}</text>`
  )
  const heights = [0, most / 2, most].map(
    (cpu) => `<text x="${LEFT - 8}" y="${y(cpu) + 4}" text-anchor="end">${cpu.toFixed(0)}</text>`
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#444"><title>CPU time per request by number of users</title><rect width="100%" height="100%" fill="#fff"/><text x="8" y="14">CPU µs per request</text><text x="${WIDTH / 2}" y="${HEIGHT - 4}" text-anchor="middle">users, each with one session</text>${[...heights, ...ticks, ...lines].join('')}</svg>\n`
}

/** Writes the results of a complete run to docs/performance.md, with a picture. */
export function writePerformance({ table, goals, sizes }: { table: Table; goals: Goal[]; sizes: Size[] }): void {
  const text = [
    '# Performance',
    '',
    `Measured on ${new Date().toISOString().slice(0, 10)} by \`npm run bench\` with Node.js ${process.versions.node}, on ${cpus().length} CPUs (${cpus()[0]?.model.trim()}).`,
    'Each server runs alone on one CPU, PostgreSQL on the same, and the load on another CPU. Tokens are signed with ES256. The other servers keep',
    'everything in memory; Latchkey stores durably and asks the current state at each request. The cells hold requests per second and the CPU time of the',
    'server for one request, for PostgreSQL with the CPU time of the database.',
    '',
    '**Floor** is the least that a server with the same guarantees does at each request: a bare Fastify that signs, checks hashed secrets and MACs,',
    'reads the live state from SQLite, and commits renewals together. It has no logs, limits, scopes, roles, validation or errors',
    '(`bench/speed/floor.ts`). Latchkey can be faster, because it does not repeat a query while nothing was committed.',
    '',
    ...tableOf(table),
    '',
    ...goalsOf(goals),
    '',
    '![CPU time per request by number of users](images/performance.svg)',
    ''
  ]
  writeFileSync('docs/performance.md', text.join('\n'))
  writeFileSync('docs/images/performance.svg', pictureOf(sizes))
}
