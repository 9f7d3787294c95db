import type { FastifyInstance, RouteOptions } from 'fastify'

/** The paths of the apps that a host has mounted and that check their callers themselves. `latchkey` adds its paths there. */
const MOUNTED = Symbol.for('latchkey.mounted')

/** Returns a route as messages name it: `GET, HEAD /orders`. */
export const nameOf = ({ method, url }: Pick<RouteOptions, 'method' | 'url'>): string =>
  `${[method].flat().join(', ')} ${url}`

/**
 * Returns whether a route is for OPTIONS alone. Such a route needs no guard: a CORS preflight carries no credentials (Fetch standard,
 * "CORS-preflight fetch"), so a guard would refuse all of them.
 */
export const isForPreflights = ({ method }: Pick<RouteOptions, 'method'>): boolean =>
  [method].flat().every((each) => each.toUpperCase() === 'OPTIONS')

/** Returns whether a path is one of these paths, or below one of them. */
export const isBelow = (url: string, paths: string[]): boolean =>
  paths.some((path) => url === path || url.startsWith(`${path}/`))

/** Declares that everything at and below the paths is handed to another app before a guard of the host could run. */
export function declareMounted({ server }: FastifyInstance, paths: string[]): void {
  const holder = server as { [MOUNTED]?: string[] }
  holder[MOUNTED] = [...(holder[MOUNTED] ?? []), ...paths]
}

/** A line of `printRoutes()`: its depth, a part of a path, and the methods of the routes that end there. */
const LINE = /^((?:│ {3}| {4})*)([├└]── )?(.*?)(?: \(([A-Z-]+(?:, [A-Z-]+)*)\)(?: \{.*\})?)?$/

/**
 * Returns the routes that the app has already. Fastify offers them only as a printed tree: a line continues the path of the line above
 * that is one level less deep. A line without a branch has another route of the line above it, with other constraints.
 */
function existingRoutes(fastify: FastifyInstance): { method: string[]; url: string }[] {
  const tree = fastify.printRoutes()
  if (tree === '(empty tree)') return []
  const path: string[] = []
  return tree
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      const [, indent = '', branch, part = '', methods] = LINE.exec(line) as RegExpExecArray
      const depth = indent.length / 4
      if (branch !== undefined) path.splice(depth, path.length, part === '(empty root node)' ? '' : part)
      const url = branch === undefined ? path.slice(0, depth).join('') : path.join('')
      return methods === undefined ? [] : [{ method: methods.split(', '), url }]
    })
}

/**
 * Refuses routes that exist before the guard, because the guard cannot protect them: except routes for preflights, public paths, and
 * mounted apps.
 * @throws Error
 */
export function assertNoRoutesBefore(fastify: FastifyInstance, publicPaths: string[]): void {
  const { [MOUNTED]: mounted = [] } = fastify.server as { [MOUNTED]?: string[] }
  const open = [...publicPaths, ...mounted]
  const [route] = existingRoutes(fastify).filter((each) => !isForPreflights(each) && !isBelow(each.url, open))
  if (route === undefined) return
  throw new Error(
    `latchkey-guard: ${nameOf(route)} exists before the guard, which cannot protect it. Register the guard, and await the registration, before this route; or ${howToOpen(route.url)}`
  )
}

/** Returns how to make a route public. `/` and `/*` in `publicPaths` stand for nothing below them. */
function howToOpen(url: string): string {
  const path = url.replace(/(?<=.)\/\*?$/, '')
  const reach = path.startsWith('/*') || path === '/' ? '' : ', with everything below it'
  return `add ${JSON.stringify(path)} to publicPaths to make it public${reach}`
}

/** The folder of this module. */
const OWN = new URL('.', import.meta.url).pathname
/** Packages whose frames stand between a plugin and the hook that sees its route. */
const BETWEEN = ['fastify', 'avvio', 'latchkey-guard', 'latchkey']

/** Returns the npm package that has just declared a route, from the stack of the caller; null when it is in no package. */
function declaringPackage(): string | null {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 50
  const { stack = '' } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  const files = stack
    .replaceAll('\\', '/')
    .split('\n')
    .slice(1)
    .filter((line) => line.includes('/') && !line.includes('node:') && !line.includes(OWN))
  for (const file of files) {
    const name = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? null
    if (name === null || !BETWEEN.includes(name)) return name
  }
  return null
}

/** Returns the error for a route without a guard. It names the package that has declared the route, and what to write. */
export function unguardedError(route: Pick<RouteOptions, 'method' | 'url'>): Error {
  const name = declaringPackage()
  if (name === null)
    return new Error(
      `${nameOf(route)} names no guard: put requireUser(), requireScope(…), requireRole(…) or publicAccess into its preHandler`
    )
  return new Error(
    `${nameOf(route)} of the package ${name} names no guard: ${howToOpen(route.url)}; or register the package in a scope with scope.decorate('defaultGuard', scope.requireScope(…))`
  )
}
