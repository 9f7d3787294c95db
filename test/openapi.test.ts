import { readFileSync } from 'node:fs'
import t from 'tap'
import { build, routesOf } from './helper.ts'

const { app } = await build(t)

interface Operation {
  operationId?: string
  summary?: string
  description?: string
  security?: object[]
  responses: Record<string, { content?: Record<string, object> }>
}

t.test('openapi.yaml is the document of the routes, as npm run openapi writes it', async (t) => {
  t.equal(readFileSync('openapi.yaml', 'utf8'), app.swagger({ yaml: true }))
})

t.test('every route is in the document, except the pages and the document itself', async (t) => {
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`)
  )
  const served = routesOf(app)
    .filter((route) => !/^HEAD |^GET \/(docs.*|openapi\.json)$/.test(route))
    .map((route) => route.replace(/:(\w+)(\([^)]*\))?/g, '{$1}'))
  t.strictSame(documented.toSorted(), served.toSorted())
})

t.test('every operation documents its id, its summary, its callers and its refusals', async (t) => {
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
  const ids = new Set<string>()
  const faults: string[] = []
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const { operationId = '', summary, description, security, responses } = operation
      const mustBe = (name: string, isTrue: unknown) => {
        if (!isTrue) faults.push(`${method} ${path}: ${name}`)
      }
      mustBe('a unique id', operationId !== '' && !ids.has(operationId))
      ids.add(operationId)
      mustBe('a summary and a description', summary && description)
      mustBe('who may call it', security)
      mustBe('400', responses[400])
      mustBe('401 and 403', security?.length === 0 || (responses[401] && responses[403]))
    }
  }
  t.ok(ids.size > 30)
  t.strictSame(faults, [])
})

t.test('the document shows the scopes of a guard for each flow, and its roles in the description', async (t) => {
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
  const { security, description } = (paths['/users'] as Record<string, Operation>).get as Operation
  t.strictSame(security, [{ password: ['users:read'] }])
  t.equal(description, 'Needs a user’s token with the scope `users:read` and the role `admin`.')
})
