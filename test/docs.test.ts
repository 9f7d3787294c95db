import t from 'tap'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../src/domain/built-in.ts'
import { EVENT_TYPES } from '../src/domain/events.ts'
import { brokenLinks, linksOf, readPages } from './links.ts'

const pages = readPages()
const page = (file: string): string => pages.get(file) ?? ''

t.test('every relative link of the documentation leads to a file and a heading that exist', async (t) => {
  t.ok([...pages].flatMap(([file, text]) => linksOf(file, text)).length > 100)
  t.strictSame(brokenLinks(pages), [])
})

const planted: [name: string, text: string, found: string][] = [
  ['a file', '[x](nowhere.md)', 'docs/x.md: docs/nowhere.md does not exist'],
  ['a file outside of docs', '[x](../nowhere.md)', 'docs/x.md: nowhere.md does not exist'],
  ['an image', '![x](images/nowhere.png)', 'docs/x.md: docs/images/nowhere.png does not exist'],
  ['a heading of another page', '[x](README.md#nowhere)', 'docs/x.md: docs/README.md has no heading #nowhere'],
  ['a heading of the same page', '# Here\n[x](#there)', 'docs/x.md: docs/x.md has no heading #there'],
  ['a heading in a code block', '```sh\n# Here\n```\n[x](#here)', 'docs/x.md: docs/x.md has no heading #here'],
  ['a link over two lines', '[x\ny](nowhere.md)', 'docs/x.md: docs/nowhere.md does not exist']
]
for (const [name, text, found] of planted) {
  t.test(`a planted broken link is found: ${name}`, async (t) => {
    t.strictSame(brokenLinks(new Map([...pages, ['docs/x.md', text]])), [found])
  })
}

t.test('links in code, links to the web and repeated headings do not count as broken', async (t) => {
  const text = '# A `b`, c\n# A b c\n`[x](nowhere.md)` [x](#a-b-c) [x](#a-b-c-1) [x](https://example.com/nowhere.md#x)'
  t.strictSame(brokenLinks(new Map([...pages, ['docs/x.md', text]])), [])
})

t.test('every page under docs, except docs/packages, is linked from another page', async (t) => {
  const linked = new Set(
    [...pages].flatMap(([file, text]) => linksOf(file, text).flatMap(({ path }) => (path === file ? [] : [path])))
  )
  const alone = [...pages.keys()].filter((file) => /^docs\/(?!packages\/)/.test(file) && !linked.has(file))
  t.strictSame(alone, [])
})

t.test('README.md has at most 130 lines', async (t) => {
  t.ok(page('README.md').split('\n').length <= 131, 'the last line ends with a line break')
})

t.test('docs/reference lists every event type and every built-in scope', async (t) => {
  const namesIn = (file: string) => [...page(file).matchAll(/^\| `([\w.:]+)` \|/gm)].map(([, name]) => name)
  const events = namesIn('docs/reference/events.md').filter((name) => name?.includes('.'))
  t.strictSame(events, Object.keys(EVENT_TYPES))
  const scopes = [...BUILT_IN_SCOPES, ...CLIENT_SCOPES].map(({ name }) => name)
  t.strictSame(namesIn('docs/reference/scopes-and-roles.md').slice(0, scopes.length), scopes)
})
