import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import { keepable, prefixed, readInto } from './read-buffer.js'

/** Gives what the first read of a connection brings to the function, while it lies where it was read. */
async function atRead<T>(bytes: string, look: (chunk: Buffer) => T): Promise<T> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  try {
    return await new Promise<T>((resolve) => {
      readInto(far, (chunk) => resolve(look(chunk)))
      near.write(bytes)
    })
  } finally {
    near.destroy()
    far.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
}

describe('the buffer that sockets read into', () => {
  it('has room for a text before what was read, and before any part of it', async () => {
    const seen = await atRead('0123456789', (chunk) => {
      const kept = keepable(chunk)
      const text = 'é'.repeat(16 * 1024)
      const join = (before: string, bytes: Buffer): string | undefined => prefixed(before, bytes)?.toString('latin1')
      const joined = [join('head ', chunk), join(text, chunk), join('12 ', chunk.subarray(7))]
      return { kept: kept.toString(), text, joined, tooLong: prefixed(`${text}x`, chunk) }
    })
    expect(seen.kept).toBe('0123456789')
    expect(seen.joined[0]).toBe('head 0123456789')
    expect(seen.joined[1] === `${seen.text}0123456789`).toBe(true)
    expect(seen.joined[2]).toBe('12 789')
    expect(seen.tooLong).toBeUndefined()
  })

  it('leaves bytes from elsewhere alone', () => {
    const bytes = Buffer.from('elsewhere')
    expect(prefixed('x', bytes)).toBeUndefined()
    expect(keepable(bytes)).toBe(bytes)
  })
})
