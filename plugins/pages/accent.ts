type Rgb = [red: number, green: number, blue: number]

/** The least contrast of text (WCAG 2.2 §1.4.3, AA), with a margin for rounding. */
const CONTRAST = 4.6

const parse = (hex: string): Rgb => {
  const digits = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit).join('') : hex.slice(1)
  const value = Number.parseInt(digits, 16)
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255]
}

const write = (rgb: Rgb): string => `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, '0')).join('')}`

/** Returns the relative luminance (WCAG 2.2). */
function luminance(rgb: Rgb): number {
  const [r = 0, g = 0, b = 0] = rgb.map((part) => {
    const share = part / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** Returns the contrast ratio of two colours, from 1 to 21 (WCAG 2.2). */
export function contrast(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminance(parse(one)), luminance(parse(other))].sort((a, b) => a - b)
  return (light + 0.05) / (dark + 0.05)
}

/**
 * Returns a colour as it is, or mixed with as much of `towards` (black or white) as it takes until its contrast with all backgrounds is
 * sufficient for text.
 */
export function legible(colour: string, { on, towards }: { on: string[]; towards: string }): string {
  const [from, to] = [parse(colour), parse(towards)]
  for (let step = 0; step <= 50; step++) {
    const mixed = write(from.map((part, index) => part + ((to[index] as number) - part) * (step / 50)) as Rgb)
    if (on.every((background) => contrast(mixed, background) >= CONTRAST)) return mixed
  }
  return towards
}
