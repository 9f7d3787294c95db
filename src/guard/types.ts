// Inside `declare module 'fastify'` below, an import is hidden when an augmentation of 'fastify', this or another one, declares its name. The
// aliases are names that none declares.
import type {
  FastifyInstance as App,
  ContextConfigDefault,
  FastifyBaseLogger,
  FastifyTypeProvider,
  FastifyTypeProviderDefault,
  RouteOptions as Options,
  preHandlerAsyncHookHandler,
  preHandlerHookHandler,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerBase,
  RawServerDefault,
  RouteGenericInterface,
  RouteHandlerMethod,
  FastifySchema as Schema,
  RouteShorthandOptions as ShorthandOptions
} from 'fastify'
import type { Principal } from '../token/principal.ts'
import type { ScopeName } from './declared.ts'
import type { Demand } from './demand.ts'

export const DEMAND: unique symbol = Symbol('demand')

/** A preHandler that requires a token, with its demand. Behind it `request.principal` is a principal. */
export type TokenGuard = preHandlerAsyncHookHandler & { [DEMAND]: Demand }
/** A preHandler of a route that is public or checks its callers itself. Behind it `request.principal` is null. */
export type OpenGuard = preHandlerAsyncHookHandler & { [DEMAND]: null }
export type Guard = TokenGuard | OpenGuard

// biome-ignore lint/suspicious/noExplicitAny: a preHandler of any route
type PreHandler = Guard | preHandlerHookHandler<any, any, any, any, any, any, any, any>
/** The preHandlers of a route that requires a token: the types recognise its first guard among the first three. */
type WithToken =
  | TokenGuard
  | readonly TokenGuard[]
  | readonly [TokenGuard, ...PreHandler[]]
  | readonly [PreHandler, TokenGuard, ...PreHandler[]]
  | readonly [PreHandler, PreHandler, TokenGuard, ...PreHandler[]]
/** The preHandlers of a route that requires none. */
type WithoutToken = OpenGuard | readonly OpenGuard[]

// biome-ignore lint/suspicious/noExplicitAny: a handler of any route
type AnyHandler = (this: any, request: any, reply: any) => any
/** A handler whose request has this principal. */
type HandlerWith<P, Handler extends AnyHandler> = (
  this: ThisParameterType<Handler>,
  request: Parameters<Handler>[0] & { principal: P },
  reply: Parameters<Handler>[1]
) => ReturnType<Handler>

declare module 'fastify' {
  interface FastifyInstance<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    Logger extends FastifyBaseLogger = FastifyBaseLogger,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault
  > {
    /** Requires a user's token, not a client's own. */
    requireUser(): TokenGuard
    /** Requires a token with all of these scopes. */
    requireScope(...scopes: ScopeName[]): TokenGuard
    /** Requires a user with all of these roles. */
    requireRole(...roles: string[]): TokenGuard
    /** Accepts every request. */
    publicAccess: OpenGuard
    /** The guard of the routes in this Fastify scope that name no guard: for plugins that add routes of their own. */
    defaultGuard: Guard | null

    route<
      RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
      ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends Schema = Schema
    >(
      opts: Omit<
        Options<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>,
        'preHandler' | 'handler'
      > & {
        preHandler: WithToken
        handler: HandlerWith<
          Principal,
          RouteHandlerMethod<
            RawServer,
            RawRequest,
            RawReply,
            RouteGeneric,
            ContextConfig,
            SchemaCompiler,
            TypeProvider,
            Logger
          >
        >
      }
    ): App<RawServer, RawRequest, RawReply, Logger, TypeProvider>
    route<
      RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
      ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends Schema = Schema
    >(
      opts: Omit<
        Options<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>,
        'preHandler' | 'handler'
      > & {
        preHandler: WithoutToken
        handler: HandlerWith<
          null,
          RouteHandlerMethod<
            RawServer,
            RawRequest,
            RawReply,
            RouteGeneric,
            ContextConfig,
            SchemaCompiler,
            TypeProvider,
            Logger
          >
        >
      }
    ): App<RawServer, RawRequest, RawReply, Logger, TypeProvider>
  }

  interface RouteShorthandMethod<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
    Logger extends FastifyBaseLogger = FastifyBaseLogger
  > {
    <
      RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
      ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends Schema = Schema
    >(
      path: string,
      opts: ShorthandOptions<
        RawServer,
        RawRequest,
        RawReply,
        RouteGeneric,
        ContextConfig,
        SchemaCompiler,
        TypeProvider,
        Logger
      > & {
        preHandler: WithToken
      },
      handler: HandlerWith<
        Principal,
        RouteHandlerMethod<
          RawServer,
          RawRequest,
          RawReply,
          RouteGeneric,
          ContextConfig,
          SchemaCompiler,
          TypeProvider,
          Logger
        >
      >
    ): App<RawServer, RawRequest, RawReply, Logger, TypeProvider>
    <
      RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
      ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends Schema = Schema
    >(
      path: string,
      opts: ShorthandOptions<
        RawServer,
        RawRequest,
        RawReply,
        RouteGeneric,
        ContextConfig,
        SchemaCompiler,
        TypeProvider,
        Logger
      > & {
        preHandler: WithoutToken
      },
      handler: HandlerWith<
        null,
        RouteHandlerMethod<
          RawServer,
          RawRequest,
          RawReply,
          RouteGeneric,
          ContextConfig,
          SchemaCompiler,
          TypeProvider,
          Logger
        >
      >
    ): App<RawServer, RawRequest, RawReply, Logger, TypeProvider>
  }

  interface FastifyRequest {
    /** The caller on a route that requires a token; null on a public route. In hooks that several routes share it may be either. */
    principal: Principal | null
  }
}
