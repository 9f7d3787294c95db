import type { NoReturnReason } from '../../src/domain/authorization-errors.ts'

/** A refused or failed request, before it is written in the shape of its endpoint. */
export interface Failure {
  status: number
  /** An error code of RFC 6749 (§5.2, §4.1.2.1) or RFC 8707 (§2). Only the shape `oauth` sends it. */
  code: string
  /** A sentence for the caller. */
  detail: string
  /** The invalid parts of the request. Only the shape `problem` sends them. */
  errors?: { pointer: string; detail: string }[]
  headers?: Record<string, string>
  /** Why a request of a browser goes back to no client. Only the shape `page` shows it. */
  reason?: NoReturnReason
}

/** A format for failures. A new format is a file in this folder and an entry in `shapes.ts`. */
export interface Shape {
  mediaType: string
  /** The media type of the bodies that its endpoints accept. */
  accepts: string
  /** The JSON schema of the body, for the OpenAPI document. A schema with an `$id` stands in the document once. */
  schema: { readonly $id?: string }
  body(failure: Failure): object | string
}
