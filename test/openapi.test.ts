import { readFileSync } from 'node:fs'
import t from 'tap'
import { build, routesOf } from './helper.ts'

const { app, inject } = await build(t)

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
    .filter((route) => !/^HEAD |^GET \/(docs.*|openapi\.json|favicon\.ico|assets\/.*)$/.test(route))
    .filter((route) => !/ \/(sign-in.*|consent|account.*|sign-out|signed-out)$/.test(route))
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
      const mustHave = (name: string, isTrue: unknown) => {
        if (!isTrue) faults.push(`${method} ${path}: ${name}`)
      }
      mustHave('a unique id', operationId !== '' && !ids.has(operationId))
      ids.add(operationId)
      mustHave('a summary and a description', summary && description)
      mustHave('who may call it', security)
      mustHave('400', responses[400])
      const isForClients = security?.some((scheme) => 'client' in scheme)
      mustHave('401 and 403', security?.length === 0 || (responses[401] && (responses[403] || isForClients)))
    }
  }
  t.ok(ids.size > 30)
  t.strictSame(faults, [])
})

t.test('the operations for clients document their authentication, and which of them need no client', async (t) => {
  const { paths, components } = app.swagger() as unknown as {
    paths: Record<string, { post: Operation }>
    components: { securitySchemes: Record<string, { type: string; scheme?: string }> }
  }
  const securityOf = (path: string) => paths[path]?.post.security
  t.strictSame(securityOf('/introspect'), [{ client: [] }])
  t.strictSame(securityOf('/revoke'), [{ client: [] }, {}])
  t.strictSame(securityOf('/token'), [{ client: [] }, {}])
  t.match(components.securitySchemes.client, {
    type: 'http',
    scheme: 'basic',
    description: /client_secret_post.*private_key_jwt/
  })
})

t.test('the document of the pages is the document of the routes, with the callers of each operation', async (t) => {
  t.strictSame((await inject({ url: '/docs/json' })).json(), JSON.parse(JSON.stringify(app.swagger())))
})

t.test('every tag of an operation is declared, and every declared tag is used', async (t) => {
  const { paths, tags } = app.swagger() as unknown as {
    paths: Record<string, Record<string, { tags: string[] }>>
    tags: { name: string }[]
  }
  const used = Object.values(paths).flatMap((operations) => Object.values(operations).flatMap((each) => each.tags))
  t.strictSame([...new Set(used)].toSorted(), tags.map(({ name }) => name).toSorted())
})

t.test('every path parameter has a pattern', async (t) => {
  const { paths } = app.swagger() as unknown as {
    paths: Record<string, Record<string, { parameters?: { in: string; schema: { pattern?: string } }[] }>>
  }
  const parameters = Object.values(paths)
    .flatMap((operations) => Object.values(operations).flatMap((each) => each.parameters ?? []))
    .filter((each) => each.in === 'path')
  t.ok(parameters.length > 20)
  t.strictSame(
    parameters.filter(({ schema }) => schema.pattern === undefined),
    []
  )
})

t.test('the password flow names the URL that renews its tokens', async (t) => {
  const { components } = app.swagger() as unknown as { components: { securitySchemes: Record<string, object> } }
  t.match(components.securitySchemes.password, { flows: { password: { tokenUrl: '/token', refreshUrl: '/token' } } })
})

t.test('the document shows the scopes of a guard for each flow, and its roles in the description', async (t) => {
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> }
  const { security, description } = (paths['/users'] as Record<string, Operation>).get as Operation
  t.strictSame(security, [{ code: ['users:read'] }, { password: ['users:read'] }])
  t.equal(description, 'Needs a user’s token with the scope `users:read` and the role `admin`.')
})
