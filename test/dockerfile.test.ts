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
