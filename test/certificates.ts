import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** DER (X.690), as far as certificates need it. */
function der(tag: number, ...parts: (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}
const sequence = (...parts: Buffer[]) => der(0x30, ...parts)
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'))
const time = (at: Date) => der(0x18, `${at.toISOString().replace(/[-:T]|\.\d+/g, '')}`)

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'))
const name = (text: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, text))))
const extension = (id: string, value: Buffer) => sequence(oid(id), der(0x04, value))

/** A certificate with its private key. */
export interface Certificate {
  pem: string
  keyPem: string
  subject: string
  key: KeyObject
}

/** Makes a certificate (RFC 5280 §4.1). @param issuer signs it; without one it signs itself @param days its lifetime from yesterday */
export function createCertificate({
  subject,
  host,
  issuer,
  days = 2
}: {
  subject: string
  host?: string
  issuer?: Certificate
  days?: number
}): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const start = Date.now() - 86_400_000
  const extensions =
    host === undefined
      ? extension('551d13', sequence(der(0x01, Buffer.from([0xff]))))
      : extension('551d11', sequence(der(0x82, host)))
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_SHA256,
    name(issuer?.subject ?? subject),
    sequence(time(new Date(start)), time(new Date(start + days * 86_400_000))),
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(extensions))
  )
  const signature = sign('sha256', content, issuer?.key ?? privateKey)
  const bytes = sequence(content, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature))
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return {
    pem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    subject,
    key: privateKey
  }
}
