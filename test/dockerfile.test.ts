import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'

const dockerfile = readFileSync('Dockerfile', 'utf8')
const found = (pattern: RegExp) => [...dockerfile.matchAll(pattern)].map((match) => match[1] as string)

t.test('every stage has the Node of package.json', async (t) => {
  const { optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
  t.strictSame([...new Set(found(/^FROM node:([\d.]+)-/gm))], [...new Set(Object.values(optionalDependencies))])
})

t.test('every copied file exists and is in the context, and the context holds nothing else', async (t) => {
  const copied = found(/^COPY (?!--from)(.+) \S+$/gm).flatMap((paths) => paths.split(' '))
  const [first, ...kept] = readFileSync('.dockerignore', 'utf8').trim().split('\n')
  t.equal(first, '*')
  t.strictSame(kept.toSorted(), [...new Set(copied)].map((path) => `!${path}`).toSorted())
  for (const path of copied) t.ok(existsSync(path), path)
})

t.test('the images run as any user of the group root, on every machine of their architecture', async (t) => {
  t.strictSame([...new Set(found(/^USER (.+)$/gm))], ['1000:0'])
  t.match(dockerfile, /^RUN install -d -o node -g root -m 770 \/data \/secrets$/m)
  t.equal(found(/(chmod -R a\+rX \.)/g).length, 2, 'all files are readable')
  t.strictSame(found(/^ARG ARGON2_FLAGS=(.*)$/gm), ['-O3'])
})

t.test('compose.yaml, Dockerfile and example agree on stages, variables and the version of the guard', async (t) => {
  const compose = readFileSync('compose.yaml', 'utf8')
  const targets = found(/ AS (\S+)$/gm)
  for (const [, target] of compose.matchAll(/target: (\w+)/g)) t.ok(targets.includes(target as string), `${target}`)
  const server = readFileSync('examples/orders/server.ts', 'utf8')
  for (const [, name] of compose.matchAll(/^ {6}([A-Z_]+): /gm)) t.match(server, `${name}`)
  t.match(dockerfile, '/secrets/orders-api')
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  t.match(dockerfile, `latchkey-guard-${version}.tgz`)
})
