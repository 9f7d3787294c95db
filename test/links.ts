import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

const withoutCode = (text: string): string => text.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, 'code')

/** Returns the pages of the repository with their text. */
export function readPages(): Map<string, string> {
  const files = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'examples/README.md']
  return new Map([...files, ...globSync('docs/**/*.md')].map((file) => [file, readFileSync(file, 'utf8')]))
}

/** Returns the anchors that GitHub gives to the headings of a page. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>()
  const headings = text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/^#{1,6} (.*)$/gm)
  for (const [, heading = ''] of headings) {
    const title = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = title.replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
    let unique = anchor
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`
    anchors.add(unique)
  }
  return anchors
}

/** Returns the relative links of a page as paths from the root, with their anchors. */
export function linksOf(file: string, text: string): { path: string; anchor: string }[] {
  const targets = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = '', anchor = ''] = target.split('#')
      return { path: path === '' ? file : normalize(join(dirname(file), path)), anchor }
    })
}

/** Returns a line for each link whose file or heading does not exist. */
export function brokenLinks(pages: Map<string, string>): string[] {
  return [...pages].flatMap(([file, text]) =>
    linksOf(file, text).flatMap(({ path, anchor }) => {
      if (!pages.has(path) && !existsSync(path)) return [`${file}: ${path} does not exist`]
      if (anchor === '' || anchorsOf(pages.get(path) ?? '').has(anchor)) return []
      return [`${file}: ${path} has no heading #${anchor}`]
    })
  )
}
