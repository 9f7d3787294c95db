import t from 'tap'
import { loadConfig, noticesOf } from '../src/config.ts'
import type { SetupError } from '../src/domain/errors.ts'

/** The variables that Kubernetes writes for a Service (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). */
const kubernetes = (name: string, address = '10.0.0.1', inUrl = address) => ({
  [`${name}_SERVICE_HOST`]: address,
  [`${name}_SERVICE_PORT`]: '3000',
  [`${name}_SERVICE_PORT_HTTP`]: '3000',
  [`${name}_PORT`]: `tcp://${inUrl}:3000`,
  [`${name}_PORT_3000_TCP`]: `tcp://${inUrl}:3000`,
  [`${name}_PORT_3000_TCP_PROTO`]: 'tcp',
  [`${name}_PORT_3000_TCP_PORT`]: '3000',
  [`${name}_PORT_3000_TCP_ADDR`]: address,
  [`${name}_PORT_53_UDP`]: `udp://${inUrl}:53`,
  [`${name}_PORT_53_UDP_PROTO`]: 'udp'
})

/** The variables that Docker writes for `--link latchkey`. */
const DOCKER = {
  LATCHKEY_NAME: '/web/latchkey',
  LATCHKEY_PORT: 'tcp://172.17.0.5:3000',
  LATCHKEY_PORT_3000_TCP_ADDR: '172.17.0.5',
  LATCHKEY_ENV_NODE_VERSION: '24.21.0',
  LATCHKEY_ENV_LATCHKEY_HOST: '0.0.0.0'
}

function problems(env: Record<string, string>): string[] {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    return (error as SetupError).message.split('\n')
  }
}

t.test('the variables of Services, also of one called latchkey, change no setting', async (t) => {
  for (const env of [
    kubernetes('LATCHKEY'),
    kubernetes('LATCHKEY', 'fd00::1', '[fd00::1]'),
    { ...kubernetes('LATCHKEY'), ...kubernetes('LATCHKEY_DB'), ...kubernetes('LATCHKEY_POSTGRESQL_HL') },
    DOCKER
  ])
    t.strictSame(loadConfig(env), loadConfig({}))
})

t.test('a port of the pod itself is used beside the variables of the Service', async (t) => {
  t.equal(loadConfig({ ...kubernetes('LATCHKEY'), LATCHKEY_PORT: '8080' }).port, 8080)
})

t.test('ignored variables are named in one line', async (t) => {
  t.strictSame(noticesOf({ ...DOCKER, HOME: '/root', LATCHKEY_HOST: '::' }), [
    'LATCHKEY_NAME, LATCHKEY_PORT, LATCHKEY_PORT_3000_TCP_ADDR, LATCHKEY_ENV_NODE_VERSION, LATCHKEY_ENV_LATCHKEY_HOST: ignored, because Kubernetes or Docker writes these variables for a service of this name; "enableServiceLinks: false" in the pod removes them'
  ])
  t.match(noticesOf({ ...kubernetes('LATCHKEY'), ...kubernetes('LATCHKEY_DB') }), [/^(LATCHKEY_\w+, ){10}…: ignored/])
  t.strictSame(noticesOf({ LATCHKEY_PORT: '', LATCHKEY_ISSUER: '' }), [
    'LATCHKEY_PORT, LATCHKEY_ISSUER: empty, so the default applies'
  ])
  t.strictSame(noticesOf({ LATCHKEY_PORT: '80', HOME: '' }), [])
})

t.test('a mistyped setting is refused, also one that looks like a variable of a Service', async (t) => {
  for (const [name, value, says] of [
    ['LATCHKEY_PROT', '3000', ', did you mean "LATCHKEY_PORT"?'],
    ['LATCHKEY_PRT', 'tcp://10.0.0.1:3000', ', did you mean "LATCHKEY_PORT"?'],
    ['LATCHKEY_ISSUR', 'x', ', did you mean "LATCHKEY_ISSUER"?'],
    ['LACHKEY_ISSUER', 'x', ', did you mean "LATCHKEY_ISSUER"?'],
    ['latchkey_port', '3000', ', did you mean "LATCHKEY_PORT"?'],
    ['LATCHKEY_SERVICE_HOST', 'example.com', '; "latchkey settings" lists the settings'],
    ['LATCHKEY_SERVICE_PORT', 'http', '; "latchkey settings" lists the settings'],
    ['LATCHKEY_HTTP_PORT', '8080', '; "latchkey settings" lists the settings'],
    ['LATCHKEY_PORT_3000_TCP', '3000', '; "latchkey settings" lists the settings'],
    ['LATCHKEY_KIND', 'Our login', '; "latchkey settings" lists the settings'],
    ['LATCHKEY_ENV_HOST', '0.0.0.0', '; "latchkey settings" lists the settings']
  ] as const)
    t.strictSame(problems({ [name]: value }), [`${name} is not a setting${says}`])
  t.strictSame(problems({ LATCHKEY_PORT: 'tcp://localhost' }), [
    'LATCHKEY_PORT must be an integer from 0 to 65535; got "tcp://localhost"'
  ])
})
