import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LOGO_BYTES_MAX, LOGO_DATA_PATTERN, LOGO_FILE_PATTERN } from '../../src/limits.ts'

export interface Image {
  mediaType: string
  extension: string
  bytes: Buffer
}

/** Image formats by the beginning of their files. */
const FORMATS: { beginning: RegExp; mediaType: string; extension: string }[] = [
  { beginning: /^\x89PNG\r\n/, mediaType: 'image/png', extension: 'png' },
  { beginning: /^\xff\xd8\xff/, mediaType: 'image/jpeg', extension: 'jpg' },
  { beginning: /^RIFF[\s\S]{4}WEBP/, mediaType: 'image/webp', extension: 'webp' },
  {
    beginning: /^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)*<svg[\s>]/,
    mediaType: 'image/svg+xml',
    extension: 'svg'
  }
]

/** Reads an image file. @throws Error with the reason when it is no image or too large */
export async function readImage(file: string): Promise<Image> {
  const bytes = await readFile(file)
  if (bytes.length > LOGO_BYTES_MAX) throw new Error(`has more than ${LOGO_BYTES_MAX} bytes`)
  const beginning = bytes.subarray(0, 1024).toString('latin1')
  const format = FORMATS.find((each) => each.beginning.test(beginning))
  if (format === undefined) throw new Error('is no image in the format PNG, JPEG, WebP or SVG')
  const { mediaType, extension } = format
  return { mediaType, extension, bytes }
}

const FILE_NAME = new RegExp(LOGO_FILE_PATTERN, 'u')
const DATA_URI = new RegExp(LOGO_DATA_PATTERN, 'u')

/**
 * Returns a function that returns the logo of a client as a `data:` URI, so that a page loads nothing from other hosts. Returns null for a
 * client without a logo, and for a file that is missing or no image.
 */
export function createLogos(dataDir: string) {
  return async (logoUri: string | null): Promise<string | null> => {
    if (logoUri === null) return null
    if (DATA_URI.test(logoUri)) return logoUri
    if (!FILE_NAME.test(logoUri)) return null
    try {
      const { mediaType, bytes } = await readImage(join(dataDir, logoUri))
      return `data:${mediaType};base64,${bytes.toString('base64')}`
    } catch {
      return null
    }
  }
}
