import { de } from './texts/de.ts'
import { en, type Texts } from './texts/en.ts'

/** The languages of the pages. Another language is a file in `texts` and a member here. */
const LANGUAGES: Record<string, Texts> = { en, de }

/** The tags of the languages. */
export const LOCALES = Object.keys(LANGUAGES)

export interface Language {
  /** The value of the attribute `lang`. */
  tag: string
  texts: Texts
}

/** Maximum number of entries of an `Accept-Language` header that are read. */
const ENTRIES_MAX = 20

/** Returns the language of a tag: `de` for `de-AT` (RFC 4647 §3.4). Returns null for a language without texts. */
function lookUp(tag: string): Language | null {
  const primary = tag.toLowerCase().split('-')[0] ?? ''
  const texts = Object.hasOwn(LANGUAGES, primary) ? LANGUAGES[primary] : undefined
  return texts === undefined ? null : { tag: primary, texts }
}

/** Returns the tags of an `Accept-Language` header, the preferred first (RFC 9110 §12.5.4). Leaves out tags with the weight 0. */
function tagsOf(header: string): string[] {
  return header
    .split(',', ENTRIES_MAX)
    .map((entry) => {
      const [tag = '', ...params] = entry.split(';').map((part) => part.trim())
      const weight = params.find((param) => /^q=/i.test(param))?.slice(2)
      return { tag, q: weight === undefined ? 1 : Number(weight) || 0 }
    })
    .filter(({ q }) => q > 0)
    .toSorted((a, b) => b.q - a.q)
    .map(({ tag }) => tag)
}

/** Returns the language of a page: the first known one of `ui_locales`, else of `Accept-Language`, else English. */
export function languageOf(uiLocales: string[], acceptLanguage: string | undefined): Language {
  for (const tag of [...uiLocales, ...tagsOf(acceptLanguage ?? '')]) {
    const language = lookUp(tag)
    if (language !== null) return language
  }
  return { tag: 'en', texts: en }
}
