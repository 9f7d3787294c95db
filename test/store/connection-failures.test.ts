import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createCertificate } from '../certificates.ts'
import { command } from '../cli/command.ts'
import { freePort } from '../cli/process.ts'
import { build, environment, PASSWORD } from '../helper.ts'
import { createDirectory } from './open.ts'
import { startTlsServer } from './servers.ts'

/** Starts a server that responds with these bytes and then waits. The end of the test waits until its connections are closed. */
async function startForeign(t: Test, response: string): Promise<number> {
  const server = createServer((socket) =>
    socket.on('error', () => {}).once('data', () => socket.write(response, 'latin1'))
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return (server.address() as AddressInfo).port
}

t.test('connections to PostgreSQL', async (t) => {
  const authority = createCertificate({ subject: 'Authority of the test' })
  const trusted = createCertificate({ subject: 'server', host: 'localhost', issuer: authority })
  const server = await startTlsServer(t, trusted)
  const { port, socketDirectory } = server
  const files = createDirectory(t)
  const caFile = join(files, 'ca.pem')
  writeFileSync(caFile, authority.pem)
  writeFileSync(join(files, 'text.pem'), 'no certificate')

  const SECRET = 'p/a?s#s@w%o:r-d-of-the-test'
  const sql = async (...statements: string[]) => {
    const client = new pg.Client({ connectionString: server.url })
    client.on('error', () => {})
    await client.connect()
    for (const each of statements) await client.query(each)
    await client.end()
  }
  await sql(
    `create role owner login password '${SECRET}'`,
    'create database latchkey owner owner',
    'create database guarded owner owner',
    `create role guest login password '${SECRET}'`
  )
  const encoded = encodeURIComponent(SECRET)
  const at = (rest: string, user = 'owner', password = encoded) => `postgres://${user}:${password}@${rest}`
  const ca = `sslrootcert=${encodeURIComponent(caFile)}`
  const withTls = `localhost:${port}/latchkey?sslmode=verify-full&${ca}`

  const migrate = (url: string) => command(environment({ url, dataDir: files }), ['migrate'])
  const present = async (certificate: { pem: string; keyPem: string }) => {
    server.present(certificate)
    await sql('select pg_reload_conf()')
  }

  t.test('a connection over TLS with a private authority and one over a Unix socket work', async (t) => {
    const socket = `?host=${encodeURIComponent(socketDirectory)}&port=${port}`
    for (const url of [
      at(withTls),
      at(`localhost:${port}/latchkey?sslmode=require&${ca}`),
      at(`/latchkey${socket}`),
      `postgres:///latchkey${socket}&user=owner&password=${encoded}`,
      at(`localhost:${port}/latchkey?sslmode=no-verify`)
    ]) {
      const { code, stderr } = await migrate(url)
      t.equal(code, 0, stderr)
    }
    const { token, get, login } = await build(t, {
      at: { url: at(`/latchkey${socket}`), dataDir: files },
      logger: false
    })
    const form = { grant_type: 'password', username: 'admin', password: PASSWORD, scope: 'profile' }
    t.equal((await token(form)).statusCode, 200)
    t.equal((await get('/users/me', await login('admin'))).statusCode, 200)
  })

  const FAILURES: [name: string, url: string, line: string | RegExp, certificate?: { pem: string; keyPem: string }][] =
    [
      [
        'an unknown authority',
        at(`localhost:${port}/latchkey?sslmode=require`),
        'cannot connect to PostgreSQL: unable to verify the first certificate: add sslrootcert=<file> with the certificate of its authority to LATCHKEY_DATABASE_URL'
      ],
      [
        'an unknown authority in the chain',
        at(`localhost:${port}/latchkey?sslmode=prefer`),
        'cannot connect to PostgreSQL: self-signed certificate in certificate chain: add sslrootcert=<file> with the certificate of its authority to LATCHKEY_DATABASE_URL',
        { ...trusted, pem: trusted.pem + authority.pem }
      ],
      [
        'a self-signed certificate',
        at(`localhost:${port}/latchkey?sslmode=verify-ca`),
        'cannot connect to PostgreSQL: self-signed certificate: add sslrootcert=<file> with the certificate of its authority to LATCHKEY_DATABASE_URL',
        createCertificate({ subject: 'server', host: 'localhost' })
      ],
      [
        'an expired certificate',
        at(withTls),
        'cannot connect to PostgreSQL: certificate has expired: renew the certificate of the server, or set the clock of this machine',
        createCertificate({ subject: 'server', host: 'localhost', issuer: authority, days: 0.5 })
      ],
      [
        'a certificate for another host',
        at(withTls),
        "cannot connect to PostgreSQL: Hostname/IP does not match certificate's altnames: Host: localhost. is not in the cert's altnames: DNS:db.example: write the host name of the certificate into LATCHKEY_DATABASE_URL",
        createCertificate({ subject: 'server', host: 'db.example', issuer: authority })
      ],
      [
        'a missing file',
        at(`localhost:${port}/latchkey?sslrootcert=/none/ca.pem`),
        "cannot connect to PostgreSQL: ENOENT: no such file or directory, open '/none/ca.pem'"
      ],
      [
        'a file without a certificate',
        at(`localhost:${port}/latchkey?sslrootcert=${encodeURIComponent(join(files, 'text.pem'))}`),
        /^cannot connect to PostgreSQL: [^\n]+$/
      ],
      [
        'a server without TLS',
        `${process.env.TEST_POSTGRES}/latchkey?sslmode=require`,
        'cannot connect to PostgreSQL: The server does not support SSL connections: switch TLS on at the server, or remove sslmode from LATCHKEY_DATABASE_URL'
      ],
      [
        'a server that requires TLS',
        at(`127.0.0.1:${port}/guarded`),
        'cannot connect to PostgreSQL: pg_hba.conf rejects connection for host "127.0.0.1", user "owner", database "guarded", no encryption: allow this connection in pg_hba.conf; for "no encryption" add sslmode=verify-full to LATCHKEY_DATABASE_URL'
      ],
      [
        'a wrong password',
        at(`127.0.0.1:${port}/latchkey`, 'owner', `${encoded}x`),
        'cannot connect to PostgreSQL: password authentication failed for user "owner": correct the user or the password in LATCHKEY_DATABASE_URL'
      ],
      [
        'a password in the query that is wrong',
        `postgres://127.0.0.1:${port}/latchkey?user=owner&password=${encoded}x`,
        'cannot connect to PostgreSQL: password authentication failed for user "owner": correct the user or the password in LATCHKEY_DATABASE_URL'
      ],
      [
        'no password',
        `postgres://owner@localhost:${port}/guarded?sslmode=verify-full&${ca}`,
        'cannot connect to PostgreSQL: SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string: correct the user or the password in LATCHKEY_DATABASE_URL'
      ],
      [
        'a missing database',
        at(`127.0.0.1:${port}/none`),
        'cannot connect to PostgreSQL: database "none" does not exist: create the database'
      ],
      [
        'a user without rights',
        at(`127.0.0.1:${port}/latchkey`, 'guest'),
        /^PostgreSQL: permission denied for table \w+: grant it to the user of LATCHKEY_DATABASE_URL$/
      ],
      [
        'a socket that is not there',
        at(`/latchkey?host=${files}`),
        `The database is not available (connect ENOENT ${files}/.s.PGSQL.5432)`
      ],
      [
        'a name with two addresses and no server',
        at(`localhost:${await freePort()}/latchkey`),
        /^The database is not available \((connect ECONNREFUSED [\d.:]+(, )?)+\)$/
      ],
      [
        'a host that does not exist',
        at('db.invalid/latchkey'),
        /^The database is not available \(getaddrinfo \w+ db\.invalid\)$/
      ],
      [
        'a server that demands Kerberos',
        at(`127.0.0.1:${await startForeign(t, 'R\0\0\0\x08\0\0\0\x07')}/latchkey`),
        'The database is not available (the server sent a message that is not valid: Unknown authenticationOk message type 7)'
      ],
      [
        'a server of another kind',
        at(`127.0.0.1:${await startForeign(t, 'J\0\0\0\n8.0.36\0')}/latchkey`),
        'The database is not available (received invalid response: 4a)'
      ]
    ]

  t.test('every failure to connect is one line that says why, without a password', async (t) => {
    t.equal((await migrate(at(withTls))).code, 0)
    for (const [name, url, line, certificate = trusted] of FAILURES) {
      await present(certificate)
      const { code, stderr } = await migrate(url)
      t.equal(code, 1, name)
      if (typeof line === 'string') t.equal(stderr, `${line}\n`, name)
      else t.match(stderr.replace(/\n$/, ''), line, name)
      for (const secret of [SECRET, encoded]) t.notOk(stderr.includes(secret), name)
    }
    await present(trusted)
  })

  t.test('a failure to connect while the service runs is 503, and its log has the reason and no stack', async (t) => {
    const lines: string[] = []
    const logger = { level: 'info', stream: { write: (line: string) => void lines.push(line) } }
    const { get, login, inject } = await build(t, { at: { url: at(withTls), dataDir: files }, logger })
    const access = await login('admin')
    const drop = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'latchkey'"
    for (const [name, change, restore] of [
      [
        'an unknown certificate',
        () => present(createCertificate({ subject: 'x', host: 'localhost' })),
        () => present(trusted)
      ],
      [
        'a changed password',
        () => sql("alter role owner password 'another'"),
        () => sql(`alter role owner password '${SECRET}'`)
      ],
      ['a user who may not log in', () => sql('alter role owner nologin'), () => sql('alter role owner login')]
    ] as const) {
      lines.length = 0
      await change()
      await sql(drop)
      const statuses: number[] = []
      for (let count = 0; count < 3; count++) statuses.push((await get('/users/me', access)).statusCode)
      t.strictSame(statuses, [503, 503, 503], name)
      t.equal((await inject({ method: 'GET', url: '/health/ready' })).statusCode, 503, name)
      t.match(lines.join(''), /certificate|password authentication failed|not permitted to log in/, name)
      t.notMatch(lines.join(''), /"stack"|\\n {4}at /, name)
      t.notOk(lines.join('').includes(SECRET), name)
      await restore()
      t.equal((await get('/users/me', access)).statusCode, 200, name)
    }
  })
})
