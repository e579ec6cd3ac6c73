/** An embedded server that cannot be prepared or started; the message says why and what to do. */
export class EmbeddedError extends Error {
  override readonly name = 'EmbeddedError'
}
