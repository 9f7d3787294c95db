import { LINE_MAX, LINE_PATTERN } from '../limits.ts'

const LINE = new RegExp(LINE_PATTERN, 'u')

/** Returns whether a text is one line of at most `LINE_MAX` characters (code points). */
export const isLine = (text: string): boolean => LINE.test(text) && [...text].length <= LINE_MAX
