import type { FastifyInstance } from 'fastify'

/**
 * Sends the forms of each kind to POST /token in turns, each of which must be refused with that status, and prints the times
 * that it took: medians, and how far they lie apart.
 * @param warmUp how many rounds are not counted
 */
export async function timeRefusals(
  app: FastifyInstance,
  forms: Record<string, Record<string, string>>,
  { status, count, warmUp }: { status: number; count: number; warmUp: number }
): Promise<void> {
  const print = (line: string) => void process.stdout.write(`${line}\n`)
  const quantile = (times: number[], q: number) =>
    times.toSorted((a, b) => a - b)[Math.floor(q * (times.length - 1))] ?? Number.NaN
  const ms = (time: number) => `${time.toFixed(3).padStart(8)} ms`

  async function take(name: string, form: Record<string, string>): Promise<number> {
    const start = performance.now()
    const { statusCode } = await app.inject({
      method: 'POST',
      url: '/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams(form).toString()
    })
    const took = performance.now() - start
    if (statusCode !== status) throw new Error(`${name} got ${statusCode} and not the refusal that is measured`)
    return took
  }

  const kinds = Object.entries(forms).map(([name, form]) => ({ name, form, times: [] as number[] }))
  for (let round = -warmUp; round < count; round++) {
    // Each kind comes as often first, second and last.
    for (let turn = 0; turn < kinds.length; turn++) {
      const { name, form, times } = kinds[(turn + round + warmUp) % kinds.length] as (typeof kinds)[number]
      const took = await take(name, form)
      if (round >= 0) times.push(took)
    }
  }

  print(`${count} of each kind in turns`)
  print(`${''.padEnd(10)}${'median'.padStart(11)}${'10 %'.padStart(11)}${'90 %'.padStart(11)}`)
  for (const { name, times } of kinds)
    print(`${name.padEnd(10)}${[0.5, 0.1, 0.9].map((q) => ms(quantile(times, q))).join('')}`)
  const medians = kinds.map(({ times }) => quantile(times, 0.5))
  const [least, most] = [Math.min(...medians), Math.max(...medians)]
  print(`${'spread'.padEnd(10)}${ms(most - least)}${`${((100 * (most - least)) / least).toFixed(2)} %`.padStart(11)}`)
}
