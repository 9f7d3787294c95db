/**
 * Letters of other scripts that look like a Latin letter, by the Latin letter. Chosen from the confusables of UTS 39: the letters of
 * living alphabets that most fonts draw alike. Case matters here, because В looks like B and в does not look like b.
 */
const LOOK_ALIKES: Record<string, string> = {
  A: 'АΑᎪ',
  B: 'ВΒᏴ',
  C: 'СᏟ',
  D: 'Ꭰ',
  E: 'ЕΕᎬ',
  F: 'Ϝ',
  G: 'ԌᏀ',
  H: 'НΗᎻ',
  I: 'ІΙӀ',
  J: 'ЈᎫ',
  K: 'КΚᏦ',
  L: 'Ꮮ',
  M: 'МΜᎷ',
  N: 'Ν',
  O: 'ОΟՕ',
  P: 'РΡᏢ',
  Q: 'Ԛ',
  R: 'Ꭱ',
  S: 'ЅՏᏚ',
  T: 'ТΤᎢ',
  U: 'Ս',
  V: 'ѴᏙ',
  W: 'ԜᎳ',
  X: 'ХΧ',
  Y: 'ҮΥ',
  Z: 'ΖᏃ',
  a: 'аα',
  c: 'с',
  d: 'ԁ',
  e: 'е',
  g: 'ց',
  h: 'һհ',
  i: 'іι',
  j: 'јϳ',
  k: 'κк',
  l: 'ӏ',
  n: 'ոη',
  o: 'оοօσ',
  p: 'рρ',
  q: 'ԛզ',
  r: 'г',
  s: 'ѕ',
  t: 'т',
  u: 'սυ',
  v: 'ѵν',
  w: 'ԝω',
  x: 'хχ',
  y: 'уүγ'
}

const LATIN = new Map(
  Object.entries(LOOK_ALIKES).flatMap(([latin, others]) => [...others].map((other) => [other, latin]))
)

/** The scripts of the letters above. */
const SCRIPTS = [
  /\p{Script=Latin}/u,
  /\p{Script=Cyrillic}/u,
  /\p{Script=Greek}/u,
  /\p{Script=Armenian}/u,
  /\p{Script=Cherokee}/u
]

/** Returns the text with the Latin letter in place of each letter that looks like it. */
export const asLatin = (text: string): string => [...text].map((letter) => LATIN.get(letter) ?? letter).join('')

/** Returns whether the letters of a text belong to more than one script in which letters look alike. */
export const mixesScripts = (text: string): boolean => SCRIPTS.filter((script) => script.test(text)).length > 1
