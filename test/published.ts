import { registerHooks } from 'node:module'

/** The names under which parts of this repository are published, and where they are here; `paths` of tsconfig.json says the same. */
const PUBLISHED: Record<string, string> = {
  latchkey: '../src/mount.ts',
  'latchkey/testing': '../src/testing/index.ts',
  'latchkey-guard': '../src/guard/index.ts',
  'latchkey-guard/client': '../src/client/index.ts'
}

/** For `node --import ./test/published.ts`: an import of a published name loads its source. */
registerHooks({
  resolve(specifier, context, next) {
    const source = PUBLISHED[specifier]
    return source === undefined ? next(specifier, context) : next(source, { ...context, parentURL: import.meta.url })
  }
})
