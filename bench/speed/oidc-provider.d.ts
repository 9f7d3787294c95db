/** The members of the package that the peer in `peers.ts` uses. */
declare module 'oidc-provider' {
  interface Saved {
    save(): Promise<string>
  }
  export default class Provider {
    constructor(issuer: string, configuration: object)
    readonly Client: { find(id: string): Promise<object> }
    readonly Grant: new (
      properties: object
    ) => Saved & { addOIDCScope(scope: string): void }
    readonly AccessToken: new (
      properties: object
    ) => Saved
    readonly RefreshToken: new (
      properties: object
    ) => Saved
    callback(): import('node:http').RequestListener
    on(event: 'server_error', listener: (context: object, error: Error) => void): void
  }
}
