import { randomUUIDv7 } from 'node:crypto'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { ClientSecret } from '../../src/domain/model.ts'
import type { Opened } from './open.ts'
import { addClient, KEYS, NOW, newRevoked, newSecret, outcomes, ROUNDS, refusedAs, unique } from './rows.ts'

/** The secrets and assertions of clients. */
export function clientCredentials(t: Test, { store, others }: Opened): void {
  const addSecret = (
    id: string,
    secret: ClientSecret,
    more: { othersEndAt?: number; maxSecrets?: number } = {},
    at = store
  ) => at.clients.addSecret(OPERATOR, { id, secret, othersEndAt: null, maxSecrets: 3, ...more })
  const deleteSecret = (id: string, secretId: string) => store.clients.deleteSecret(OPERATOR, { id, secretId })
  const useAssertion = (id: string, jti: string, at = store) => at.clients.useAssertion(id, jti, NOW)

  t.test('credentials returns existing clients, their valid secrets and the number of the log', async (t) => {
    const [one, two] = [
      await addClient(store),
      await addClient(store, { disabledAt: NOW, scopes: [], defaultScopes: [] })
    ]
    const secrets = [
      newSecret('a', { createdAt: NOW - 1 }),
      newSecret('b', { expiresAt: NOW + 1 }),
      newSecret('c', { expiresAt: NOW + 2 })
    ]
    for (const secret of secrets) await addSecret(one.id, secret)
    const read = async (now: number, ...ids: string[]) =>
      (await store.clients.credentials(ids, now)).map(({ client, secrets }) => [
        client.id,
        secrets.map(({ hash }) => hash).toSorted()
      ])
    const all = [one.id, ['a', 'b', 'c']]
    t.strictSame(await read(NOW, one.id, two.id), [all, [two.id, []]])
    t.strictSame(await read(NOW, 'none', one.id), [all])
    t.strictSame(await read(NOW, two.id, one.id), [[two.id, []], all])
    t.strictSame(await read(NOW, 'none'), [])
    t.strictSame(await read(NOW + 1, one.id), [[one.id, ['a', 'c']]], 'a secret is expired at its end')
    t.strictSame(await read(NOW + 2, one.id), [[one.id, ['a']]])
    const left = await store.clients.secrets(one.id, NOW + 1)
    t.strictSame(
      left.map(({ hash }) => hash),
      ['a', 'c']
    )
    const rev = await store.revocations.seq()
    const [known] = await store.clients.credentials([one.id], NOW + 2)
    const { kid, alg, createdAt, signsSinceAt } = KEYS.signing
    const registered = (await store.scopes.find(one.scopes)).map(({ description: _, ...target }) => target)
    t.strictSame(known, {
      client: { ...one, updatedAt: NOW },
      secrets: [secrets[0]],
      registered,
      signing: [{ kid, alg, createdAt, signsSinceAt }],
      rev
    })
    await store.revocations.revokeToken(OPERATOR, newRevoked(unique('token')))
    t.equal((await store.clients.credentials([one.id], NOW))[0]?.rev, rev + 1)
    t.strictSame((await store.clients.credentials([two.id], NOW))[0]?.client, two, 'also a disabled client')
  })

  t.test('a client has a limited number of secrets, and a new one can make the others expire', async (t) => {
    const { id } = await addClient(store)
    const a = newSecret('a')
    const b = newSecret('b', { createdAt: NOW + 1, expiresAt: NOW + 5 })
    const c = newSecret('c', { createdAt: NOW + 2 })
    const added = [await addSecret(id, a), await addSecret(id, b), await addSecret(id, c, { othersEndAt: NOW + 10 })]
    t.strictSame(added, [true, true, true])
    const three = [{ ...a, expiresAt: NOW + 10 }, b, c]
    t.strictSame(await store.clients.secrets(id, NOW), three)
    await t.rejects(addSecret(id, newSecret('d'), { othersEndAt: NOW + 3 }), refusedAs('conflict'))
    t.strictSame(await store.clients.secrets(id, NOW), three, 'a refusal ends nothing')
    t.equal(await addSecret(id, newSecret('e', { createdAt: NOW + 5 })), true, 'an expired secret makes room')
    const f = newSecret('f', { createdAt: NOW + 6 })
    t.equal(await addSecret(id, f, { othersEndAt: NOW + 6 }), true, 'and so do secrets that end at once')
    t.strictSame(await store.clients.secrets(id, NOW), [f])
    t.equal(await addSecret('unknown', newSecret('x')), false)

    await store.clients.recordSecretUse(f.id, NOW + 7)
    t.strictSame(await store.clients.secrets(id, NOW), [{ ...f, lastUsedAt: NOW + 7 }])
    const other = await addClient(store)
    t.equal(await deleteSecret(other.id, f.id), false, 'the secret of another client')
    t.equal(await deleteSecret(id, randomUUIDv7()), false)
    t.equal(await deleteSecret(id, f.id), true)
    t.equal(await deleteSecret(id, f.id), false)
    await store.clients.recordSecretUse(f.id, NOW)
    t.strictSame(await store.clients.secrets(id, NOW), [])
  })

  t.test('eight concurrent additions of a secret add exactly the allowed number', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const { id } = await addClient(store)
      const calls = [...others, ...others].map((at, index) => addSecret(id, newSecret(`${index}`), {}, at))
      const counts = await outcomes(calls)
      const stored = (await store.clients.secrets(id, NOW)).length
      if (counts.done !== 3 || counts.conflict !== 5 || stored !== 3)
        t.strictSame([counts, stored], [{ done: 3, conflict: 5 }, 3], `round ${round}`)
    }
  })

  t.test('an assertion can be used once by its client, also concurrently', async (t) => {
    const [{ id }, other] = [await addClient(store), await addClient(store)]
    for (let round = 0; round < ROUNDS; round++) {
      const calls = [...others, ...others].map((at) => useAssertion(id, `jti ${round}`, at))
      const uses = (await Promise.all(calls)).filter(Boolean).length
      if (uses !== 1) t.equal(uses, 1, `round ${round}`)
    }
    t.equal(await useAssertion(other.id, 'jti 0'), true, 'the same jti of another client')
    t.equal(await useAssertion(other.id, 'jti 0'), false)
    t.equal(await useAssertion('unknown', 'jti 0'), false)
  })
}
