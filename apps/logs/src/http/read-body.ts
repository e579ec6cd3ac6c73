import type { IncomingMessage } from 'node:http'

/** A request that is refused with a status of its own. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
  constructor(
    readonly status: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** The whole body, of at most so many bytes. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) throw new RequestError(413, `The body is larger than ${maxBytes} bytes; send smaller batches.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
