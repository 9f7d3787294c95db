import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import { pagesApp, SAMPLES } from '../page-samples.ts'
import { launch } from './browser.ts'
import { picture } from './docs.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** The rules of WCAG 2.2 AA, and the best practices of axe. */
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

const LOOKS = [
  { colorScheme: 'light', locale: 'en-GB', viewport: { width: 1280, height: 900 } },
  // The width to which 1,280 pixels shrink at a zoom of 400 % (WCAG 2.2 §1.4.10).
  { colorScheme: 'dark', locale: 'de-DE', viewport: { width: 320, height: 700 } }
] as const

for (const look of LOOKS) {
  t.test(`axe finds nothing on any page, which loads nothing from elsewhere (${look.colorScheme})`, async (t) => {
    const origin = await (await pagesApp(t)).listen({ host: '127.0.0.1', port: 0 })
    const context = await (await launch()).newContext(look)
    t.teardown(() => context.close())
    const page = await context.newPage()
    page.on('console', (message) => t.fail(`on the console: ${message.text()}`))
    page.on('request', (request) => {
      const url = request.url()
      if (!url.startsWith('data:') && new URL(url).origin !== origin) t.fail(`a request to ${url}`)
    })
    for (const name of Object.keys(SAMPLES)) {
      await page.goto(`${origin}/${name}`)
      await picture(page, `page-${name}-${look.colorScheme}`)
      await page.evaluate(AXE)
      const found = await page.evaluate(
        `axe.run({ runOnly: ${JSON.stringify(RULES)} }).then(({ violations }) => violations.map(({ id, nodes }) => id + ' ' + nodes.map(({ html }) => html)))`
      )
      t.strictSame(found, [], name)
      const width = await page.evaluate('document.documentElement.scrollWidth')
      t.equal(width, look.viewport.width, `${name} needs no horizontal scrolling`)
    }
  })
}
