import { readFileSync } from 'node:fs'
import t from 'tap'
import { build, routesOf } from './helper.ts'

interface Operation {
  operationId?: string
  summary?: string
  description?: string
  security?: object[]
  responses: Record<string, { content?: Record<string, object> }>
}

t.test('openapi.yaml is what the routes say: npm run openapi writes it', async (t) => {
  const { app } = await build(t)
  t.equal(readFileSync('openapi.yaml', 'utf8'), app.swagger({ yaml: true }))
})

t.test('every route is in the document, but for the pages and the document itself', async (t) => {
  const { app } = await build(t)
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`)
  )
  const served = routesOf(app)
    .filter((route) => !/^HEAD |^GET \/(docs.*|openapi\.json)$/.test(route))
    .map((route) => route.replace(/:(\w+)(\([^)]*\))?/g, '{$1}'))
  t.strictSame(documented.toSorted(), served.toSorted())
})

t.test('every operation has an id, a summary, who may call it, and the refusals that it can give', async (t) => {
  const { app } = await build(t)
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
  const ids = new Set<string>()
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, { operationId = '', summary, description, security, responses }] of Object.entries(
      operations
    )) {
      const name = `${method} ${path}`
      t.notOk(ids.has(operationId) || operationId === '', `${name} has an id of its own`)
      ids.add(operationId)
      t.ok(summary && description, `${name} has a summary and a description`)
      t.ok(security, `${name} says who may call it`)
      t.ok(responses[400], `${name} can refuse a malformed request`)
      if (security?.length) t.ok(responses[401] && responses[403], `${name} can refuse its caller`)
    }
  }
})

t.test(
  'a guard stands in the document as the scopes of one demand for each flow, and its roles in words',
  async (t) => {
    const { app } = await build(t)
    const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
    const { security, description } = (paths['/users'] as Record<string, Operation>).get as Operation
    t.strictSame(security, [{ password: ['users:read'] }])
    t.equal(description, 'Needs a user’s token with the scope `users:read` and the role `admin`.')
  }
)
