/** A sealing key. */
export const KEY = Buffer.alloc(32, 7).toString('base64')
const KEYS = [KEY, KEY.slice(0, -1), Buffer.alloc(32, 0xfb).toString('base64url')]
const INVALID_KEYS = [
  'x',
  KEY.slice(1),
  `${KEY}=`,
  Buffer.alloc(31).toString('base64'),
  Buffer.alloc(33).toString('base64'),
  '0'.repeat(64),
  `${KEY.slice(0, -2)}!=`
]

/** Texts that are no issuer, and what the error says about each. */
const ISSUER_FAULTS: Record<string, string> = {
  'login.example.com': 'it has no scheme',
  'ftp://example.com': 'its scheme is not https',
  'javascript:alert(1)': 'its scheme is not https',
  'https://': 'it is not a valid URL',
  'http://example.com': 'it is http on a host that is not loopback',
  'http://10.0.0.1': 'it is http on a host that is not loopback',
  'http://localhost.example.com': 'it is http on a host that is not loopback',
  'http://127.0.0.1.example.com': 'it is http on a host that is not loopback',
  'http://0.0.0.0:3000': 'it is http on a host that is not loopback',
  'https://example.com/': 'it ends with a slash',
  'https://example.com/a/': 'it ends with a slash',
  'https://example.com?x=1': 'it has a query',
  'https://example.com/a?x=1': 'it has a query',
  'https://example.com/a?': 'it has a query',
  'https://example.com#x': 'it has a fragment',
  'https://example.com/a#x': 'it has a fragment',
  'https://example.com/a#': 'it has a fragment',
  'https://user@example.com': 'it has a username or a password',
  'https://user:password@example.com': 'it has a username or a password',
  'https://:password@example.com': 'it has a username or a password',
  'https://@example.com': 'it has a username or a password',
  'https://EXAMPLE.com': 'its normal form is https://example.com',
  'https://example.com:443': 'its normal form is https://example.com',
  'https://example.com/a/../b': 'its normal form is https://example.com/b',
  'https://example.com/a b': 'its normal form is https://example.com/a%20b',
  ' https://example.com': 'its normal form is https://example.com',
  'https://example.com\n': 'its normal form is https://example.com',
  'https://exa\tmple.com': 'its normal form is https://example.com',
  'HTTPS://example.com': 'its normal form is https://example.com',
  'https:/example.com': 'its normal form is https://example.com',
  'https:\\\\example.com': 'its normal form is https://example.com',
  'localhost:3000': 'it has no scheme',
  'http://user:password@id.example.com': 'it has a username or a password',
  'https:/\t/user:password@example.com': 'it has a username or a password',
  'https:user:password@example.com': 'it has a username or a password'
}

/** For every setting: allowed and refused values, the text of an error after "must be" and about a refused value, and whether its value is a secret. */
export const SETTINGS: Record<
  string,
  { allowed: string[]; refused: string[]; faults?: Record<string, string>; says: string; secret?: true }
> = {
  LATCHKEY_HOST: {
    allowed: ['127.0.0.1', '::', '::1', '0.0.0.0', 'fe80::1%eth0', 'localhost', 'my_host.example'],
    refused: ['[::1]', 'http://localhost', 'localhost:3000', '127.0.0.1:80', '[::]:80', 'localhost/'],
    says: 'an address or a host name, without brackets, scheme and port'
  },
  LATCHKEY_PORT: {
    allowed: ['0', '1', '65535'],
    refused: ['65536', '-1', '1.5', '1e3', '0x10', ' 80', '80 ', 'http', '99999999999999999999', '٣'],
    says: 'an integer from 0 to 65535'
  },
  LATCHKEY_ISSUER: {
    allowed: [
      'https://login.example.com',
      'https://login.example.com:8443',
      'https://example.com/a/b',
      'http://localhost',
      'http://localhost:3000',
      'http://127.0.0.1:3000',
      'http://127.9.9.9',
      'http://[::1]:3000',
      'http://sub.localhost',
      'http://[::ffff:7f00:1]:3000',
      'http://localhost:3000/auth',
      'https://xn--e1afmkfd.example'
    ],
    refused: [...Object.keys(ISSUER_FAULTS), `https://${'a.'.repeat(120)}example.com`],
    faults: ISSUER_FAULTS,
    says: 'an https URL of at most 255 characters without query, fragment and trailing slash (http on a loopback host, or with LATCHKEY_INSECURE_HTTP=true)'
  },
  LATCHKEY_INSECURE_HTTP: { allowed: ['true', 'false'], refused: ['yes', '1'], says: 'true or false' },
  LATCHKEY_DATA_DIR: { allowed: ['data', '/var/lib/latchkey', '../x y'], refused: [], says: 'a path' },
  LATCHKEY_DATABASE_URL: {
    allowed: ['sqlite:latchkey.db', 'sqlite:/srv/latchkey.db', 'sqlite::memory:'],
    refused: [
      'latchkey.db',
      'sqlite:',
      'sqlite://x.db',
      'sqlite:///srv/x.db',
      'sqlite:x.db?mode=ro',
      'sqlite:file:x.db',
      'postgres:',
      'postgres://',
      'mysql://u:p@h/d',
      'SQLITE:x',
      'http://h'
    ],
    says: 'sqlite:<file> (without // before the file and ? after it) or postgres://<user>:<password>@<host>/<database> (with @ / ? # and % of user and password percent-encoded)',
    secret: true
  },
  LATCHKEY_SEALING_KEY: {
    allowed: KEYS,
    refused: INVALID_KEYS,
    says: '32 bytes in base64 (openssl rand -base64 32)',
    secret: true
  },
  LATCHKEY_SEALING_KEY_FILE: { allowed: ['key', '/run/secrets/key'], refused: [], says: 'a path' },
  LATCHKEY_SEALING_KEY_PREVIOUS: { allowed: KEYS, refused: INVALID_KEYS, says: '32 bytes in base64', secret: true },
  LATCHKEY_SEALING_KEY_PREVIOUS_FILE: { allowed: ['key', '/run/secrets/key'], refused: [], says: 'a path' },
  LATCHKEY_KEY_ROTATION: {
    allowed: ['0', '30', '365'],
    refused: ['-1', '366', '30d', '1.5'],
    says: 'an integer from 0 to 365 days'
  },
  LATCHKEY_JWKS_MAX_AGE: {
    allowed: ['1', '86400'],
    refused: ['0', '86401', '5m'],
    says: 'an integer from 1 to 86400 s'
  },
  LATCHKEY_ACCESS_TOKEN_TTL: {
    allowed: ['1', '300', '3600'],
    refused: ['0', '3601', '-1', '5m', '1.5'],
    says: 'an integer from 1 to 3600 s'
  },
  LATCHKEY_LOGIN_IDLE_TTL: {
    allowed: ['60', '43200', '31536000'],
    refused: ['0', '59', '31536001', '12h'],
    says: 'an integer from 60 to 31536000 s'
  },
  LATCHKEY_LOGIN_ABSOLUTE_TTL: {
    allowed: ['60', '2592000', '31536000'],
    refused: ['0', '59', '31536001', '30d'],
    says: 'an integer from 60 to 31536000 s'
  },
  LATCHKEY_REFRESH_LEEWAY: {
    allowed: ['0', '60', '86400'],
    refused: ['-1', '86401', '10s'],
    says: 'an integer from 0 to 86400 s'
  },
  LATCHKEY_SIGNING_ALG: {
    allowed: ['ES256', 'EdDSA', 'RS256'],
    refused: ['HS256', 'none', 'es256', 'ES384', 'ES256 '],
    says: 'one of ES256, EdDSA, RS256'
  },
  LATCHKEY_ARGON2_MEMORY: {
    allowed: ['7168', '19456', '4194304'],
    refused: ['7167', '4194305', '0', '19MiB'],
    says: 'an integer from 7168 to 4194304 KiB'
  },
  LATCHKEY_ARGON2_PASSES: { allowed: ['1', '20'], refused: ['0', '21'], says: 'an integer from 1 to 20' },
  LATCHKEY_ARGON2_LANES: { allowed: ['1', '16'], refused: ['0', '17'], says: 'an integer from 1 to 16' },
  LATCHKEY_ADMIN_USERNAME: {
    allowed: ['a', 'x'.repeat(64), 'Ädmin'],
    refused: ['x'.repeat(65), 'my admin', '😀'],
    says: 'a name of 1 to 64 letters, digits and punctuation characters without spaces (RFC 8265)'
  },
  LATCHKEY_ADMIN_PASSWORD: {
    allowed: ['x'.repeat(8), 'x'.repeat(1024), '🔑'.repeat(8)],
    refused: ['x'.repeat(7), 'x'.repeat(1025), '🔑'.repeat(7)],
    says: 'a text of at least LATCHKEY_PASSWORD_MIN_LENGTH characters and at most 1024 bytes',
    secret: true
  },
  LATCHKEY_PASSWORD_MIN_LENGTH: {
    allowed: ['8', '15', '64'],
    refused: ['7', '65', '0'],
    says: 'an integer from 8 to 64'
  },
  LATCHKEY_THROTTLE: { allowed: ['true', 'false'], refused: ['on', 'off', 'no', 'TRUE'], says: 'true or false' },
  LATCHKEY_TRUSTED_PROXIES: {
    allowed: ['10.0.0.1', '10.0.0.0/8', '::1', 'fd00::/128', '10.0.0.1,::1', '10.0.0.1 , ::1', 'none'],
    refused: [
      '0.0.0.0/0',
      '::/0',
      'true',
      '*',
      '10.0.0.0/33',
      '::/129',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10.0.0',
      'proxy.example',
      '10.0.0.1,,::1',
      '10.0.0.1 ::1',
      '10.0.0.1/-1',
      'loopback',
      'NONE',
      'none,10.0.0.1'
    ],
    says: 'addresses or networks (10.0.0.0/8, but no /0), separated by commas, or none'
  },
  LATCHKEY_LOGOUT_NETWORKS: {
    allowed: ['10.0.0.1', '10.0.0.0/8,::1'],
    refused: ['0.0.0.0/0', '::/0', 'true', 'app.example', 'none'],
    says: 'addresses or networks (10.0.0.0/8, but no /0), separated by commas'
  },
  LATCHKEY_CORS_ORIGINS: {
    allowed: ['https://app.example.com', 'http://localhost:5173', 'https://a.example,https://b.example:8443'],
    refused: [
      '*',
      'null',
      'app.example.com',
      'https://app.example.com/',
      'https://app.example.com/x',
      'https://APP.example.com',
      'https://*.example.com,*',
      'ftp://app.example.com',
      'https://u@app.example.com',
      'https://app.example.com:443',
      'https://a.example,'
    ],
    says: 'origins (https://app.example.com), separated by commas'
  },
  LATCHKEY_NAME: {
    allowed: ['Example', 'x', 'Übungsplatz & Söhne', 'x'.repeat(60)],
    refused: ['x'.repeat(61)],
    says: 'a text of at most 60 characters'
  },
  LATCHKEY_LOGO_FILE: { allowed: ['logo.svg', '/etc/latchkey/logo.png'], refused: [], says: 'a path' },
  LATCHKEY_ACCENT: {
    allowed: ['#000', '#abc', '#2b4c9b', '#ABCDEF'],
    refused: ['red', 'abc', '#12', '#1234', '#12345g', 'url(x)', '#fff}'],
    says: 'a colour as #rgb or #rrggbb'
  },
  LATCHKEY_DOCS: {
    allowed: ['true', 'false'],
    refused: ['on', 'off', 'yes', 'TRUE', '1', '0', 'constructor', '__proto__', 'toString'],
    says: 'true or false'
  },
  LATCHKEY_LOG_LEVEL: {
    allowed: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    refused: ['verbose', 'INFO', '30'],
    says: 'one of fatal, error, warn, info, debug, trace, silent'
  }
}
