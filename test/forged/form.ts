import { deflateRawSync } from 'node:zlib'
import { encode, es256 } from '../jws.ts'
import { type Forgery, forgeriesOf, type Material, type Named } from './material.ts'

/** Makes tokens with extensions, and with JSON that a serializer does not write [JW9, JW10]. */
export function inOtherForms(material: Material): Forgery[] {
  const { kid, header, claims, privateKey, signed, token, validHeader, validSignature } = material
  const forged: Forgery[] = []
  const add = (id: string, tokens: Named) => void forged.push(...forgeriesOf(id, tokens))

  const { exp } = claims
  const unencoded = (head: Record<string, unknown>, payload: string): string => {
    const input = `${encode({ ...header, ...head })}.${payload}`
    return `${input}.${es256(input, privateKey).toString('base64url')}`
  }
  add('JW9', [
    ...[
      [],
      ['exp'],
      ['kid'],
      ['alg'],
      ['b64'],
      ['nobody-knows-this'],
      ['exp', 'exp'],
      'exp',
      {},
      null,
      true,
      0,
      ['']
    ].map((crit): Named[number] => [`crit ${JSON.stringify(crit)}`, token({ crit })]),
    ['crit with the extension it names', token({ crit: ['exp'], exp })],
    ['b64 false with crit', token({ b64: false, crit: ['b64'] })],
    ['b64 false without crit', token({ b64: false })],
    ['b64 true', token({ b64: true })],
    ['b64 false with a payload as it is', unencoded({ b64: false, crit: ['b64'] }, JSON.stringify(claims))],
    ['a detached payload', `${validHeader}..${validSignature}`],
    ['zip DEF', token({ zip: 'DEF' })],
    ['zip DEF with a deflated payload', signed({ ...header, zip: 'DEF' }, deflateRawSync(JSON.stringify(claims)))],
    ['zip DEF with a bomb', signed({ ...header, zip: 'DEF' }, deflateRawSync(Buffer.alloc(4_000_000, 32)))],
    ['a deflated payload without zip', signed(header, deflateRawSync(JSON.stringify(claims)))],
    ['cty JWT', token({ cty: 'JWT' })],
    ['enc', token({ enc: 'A256GCM' })],
    ['a nonce in the header', token({ nonce: 'x' })],
    ['a claim in the header', token({ sub: claims.sub })],
    ['__proto__ in the header', signed(JSON.stringify(header).replace('{', '{"__proto__":{},'), claims)],
    ['the valid members under __proto__ of the header', signed(`{"__proto__":${JSON.stringify(header)}}`, claims)]
  ])
  const head = JSON.stringify(header)
  const body = JSON.stringify(claims)
  const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')
  const first = (text: string, members: string): string => text.replace('{', `{${members},`)
  const last = (text: string, members: string): string => text.replace(/\}$/, `,${members}}`)
  const EVIL = '"https://evil.example"'
  add('JW10', [
    ['alg twice in the header, none first', signed(first(head, '"alg":"none"'), claims)],
    ['alg twice in the header, none last', signed(last(head, '"alg":"none"'), claims)],
    ['alg twice in the header, the same', signed(last(head, '"alg":"ES256"'), claims)],
    ['alg twice in the header, once escaped', signed(last(head, '"\\u0061lg":"ES256"'), claims)],
    ['typ twice in the header', signed(first(head, '"typ":"JWT"'), claims)],
    ['kid twice in the header', signed(first(head, '"kid":"x"'), claims)],
    ['sub twice in the payload', signed(header, first(body, `"sub":"${claims.sub}"`))],
    ['sub twice in the payload, another one first', signed(header, first(body, '"sub":"somebody"'))],
    ['sub twice in the payload, once escaped', signed(header, first(body, `"\\u0073ub":"${claims.sub}"`))],
    ['exp twice in the payload', signed(header, first(body, `"exp":${exp + 1}`))],
    ['aud twice in the payload', signed(header, first(body, `"aud":${EVIL}`))],
    ['iss twice in the payload', signed(header, first(body, `"iss":${EVIL}`))],
    ['an unknown member twice', signed(header, last(body, '"x":1,"x":1'))],
    ['a member twice further down', signed(header, last(body, '"x":{"y":1,"y":2}'))],
    ['an array as payload', signed(header, [claims])],
    ['an empty array as payload', signed(header, [])],
    ['a text as payload', signed(header, JSON.stringify(body))],
    ['null as payload', signed(header, 'null')],
    ['a number as payload', signed(header, '1')],
    ['true as payload', signed(header, 'true')],
    ['an empty payload', signed(header, '')],
    ['a payload that is not JSON', signed(header, 'sub=admin')],
    ['a truncated payload', signed(header, body.slice(0, -1))],
    ['characters after the payload', signed(header, `${body}{}`)],
    ['a space before the payload', signed(header, ` ${body}`)],
    ['a line end after the payload', signed(header, `${body}\n`)],
    ['spaces in the payload', signed(header, JSON.stringify(claims, null, 1))],
    ['a comment in the payload', signed(header, body.replace('{', '{/**/'))],
    ['a comma at the end of the payload', signed(header, body.replace(/\}$/, ',}'))],
    ['NUL after the payload', signed(header, `${body}\0`)],
    ['a byte order mark before the payload', signed(header, `\uFEFF${body}`)],
    ['UTF-16', signed(header, Buffer.from(body, 'utf16le'))],
    ['invalid UTF-8 in the payload', signed(header, latin1(last(body, '"x":"\xff"')))],
    ['invalid UTF-8 in a claim', signed(header, latin1(body.replace(claims.sub, `${claims.sub}\xc3`)))],
    ['overlong UTF-8 in the payload', signed(header, latin1(last(body, '"x":"\xc0\xaf"')))],
    ['a surrogate in UTF-8 in the payload', signed(header, latin1(last(body, '"x":"\xed\xa0\x80"')))],
    ['truncated UTF-8 in the payload', signed(header, latin1(`${body}\xe2\x82`))],
    ['an escaped name in the payload', signed(header, body.replace('"sub"', '"\\u0073ub"'))],
    ['an escaped value in the payload', signed(header, body.replace('"docs"', '"doc\\u0073"'))],
    ['the valid claims under __proto__', signed(header, `{"__proto__":${body}}`)],
    [
      'one valid claim under __proto__',
      signed(
        header,
        JSON.stringify({ ...claims, sub: undefined }).replace('{', `{"__proto__":{"sub":"${claims.sub}"},`)
      )
    ],
    ['a payload 2,000 arrays deep', signed(header, `${'['.repeat(2000)}${']'.repeat(2000)}`)],
    ['an array as header', signed([header], claims)],
    ['a text as header', signed(JSON.stringify(head), claims)],
    ['null as header', signed('null', claims)],
    ['a number as header', signed('1', claims)],
    ['an empty header', signed('', claims)],
    ['an empty object as header', signed({}, claims)],
    ['a header that is not JSON', signed('alg=ES256', claims)],
    ['spaces in the header', signed(JSON.stringify(header, null, 1), claims)],
    ['a byte order mark before the header', signed(`\uFEFF${head}`, claims)],
    ['invalid UTF-8 in the header', signed(latin1(last(head, '"x":"\xff"')), claims)],
    ['invalid UTF-8 in the kid', signed(latin1(head.replace(kid, `\xff${kid.slice(1)}`)), claims)]
  ])
  return forged
}
