import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { legible } from './accent.ts'
import type { Image } from './images.ts'

const read = (url: URL): string => readFileSync(url, 'utf8')
const STYLE = read(new URL('./assets/style.css', import.meta.url))
const FAVICON = read(new URL('./assets/favicon.svg', import.meta.url))
const SUBMIT = read(new URL('./assets/submit.js', import.meta.url))

/** The backgrounds of text in `style.css`: of the page and of its parts. */
const LIGHT = ['#ffffff', '#f4f5f7']
const DARK = ['#1c1f26', '#13151a']

export interface Asset {
  /** With a hash of the content, so browsers may store the file for ever. */
  name: string
  mediaType: string
  content: string | Buffer
}

/** The files that pages load. */
export interface Assets {
  style: Asset
  favicon: Asset
  submit: Asset
  logo: Asset | null
}

function asset(name: string, mediaType: string, content: string | Buffer): Asset {
  const hash = createHash('sha256').update(content).digest('base64url').slice(0, 16)
  return { name: name.replace('.', `-${hash}.`), mediaType, content }
}

/** Returns the files that pages load. @param accent colour of links and buttons; made legible in light and in dark */
export function createAssets({ accent, logo }: { accent: string; logo: Image | null }): Assets {
  const light = legible(accent, { on: LIGHT, towards: '#000000' })
  const dark = legible(accent, { on: DARK, towards: '#ffffff' })
  const style = STYLE.replaceAll('ACCENT_ON_LIGHT', light).replaceAll('ACCENT_ON_DARK', dark)
  return {
    style: asset('style.css', 'text/css; charset=utf-8', style),
    favicon: asset('favicon.svg', 'image/svg+xml', FAVICON),
    submit: asset('submit.js', 'text/javascript; charset=utf-8', SUBMIT),
    logo: logo === null ? null : asset(`logo.${logo.extension}`, logo.mediaType, logo.bytes)
  }
}
