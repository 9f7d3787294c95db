/** Ways to send a token that RFC 6750 §2.1 does not define. */
export const bearers = (valid: string) => ({
  /** Values of `Authorization` with another scheme than Bearer. */
  otherSchemes: [
    '',
    ' ',
    'Basic Og==',
    `Basic ${Buffer.from('admin:correct horse battery staple').toString('base64')}`,
    'Digest username="admin", realm="latchkey", nonce="x", uri="/users/me", response="x"',
    `DPoP ${valid}`,
    `Token ${valid}`,
    `JWT ${valid}`,
    `Bearer: ${valid}`,
    `Bearer=${valid}`,
    `Bearer\t${valid}`,
    `Bearer,${valid}`,
    `Bearer\u00a0${valid}`,
    `Bearerer ${valid}`,
    `access_token ${valid}`,
    ` Bearer ${valid}`,
    `Basic Og==, Bearer ${valid}`,
    valid
  ],
  /** Values of `Authorization` with the scheme Bearer and without a valid token. */
  noToken: [
    'Bearer',
    'Bearer ',
    'Bearer  ',
    'Bearer  x',
    'bearer x',
    'BEARER x',
    'Bearer x y',
    'Bearer ,',
    'Bearer =',
    'Bearer null',
    'Bearer undefined',
    `Bearer ${valid}, Basic Og==`
  ],
  /** Other headers than `Authorization`. */
  elsewhere: [
    { cookie: `access_token=${valid}; token=${valid}; authorization=Bearer ${valid}` },
    { 'proxy-authorization': `Bearer ${valid}` },
    { 'x-authorization': `Bearer ${valid}` },
    { 'x-forwarded-authorization': `Bearer ${valid}` },
    { 'x-access-token': valid },
    { 'x-api-key': valid },
    { 'www-authenticate': `Bearer ${valid}` },
    { 'x-forwarded-user': 'admin', 'x-remote-user': 'admin', 'remote-user': 'admin' },
    { 'x-original-url': '/health/live', 'x-rewrite-url': '/health/live', 'x-http-method-override': 'OPTIONS' }
  ] as Record<string, string>[]
})
