import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { MalformedError } from './bson-structure.js'
import { ByteBudget, readFrames, type FrameLimits } from './frames.js'
import { frame } from './wire-client.fixture.js'

const limits = (more: Partial<FrameLimits> = {}): FrameLimits => ({
  maxBytes: () => 1024 * 1024,
  budget: new ByteBudget(1024 * 1024),
  patienceMs: 60_000,
  onLate: () => undefined,
  ...more,
})
async function* inPieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  for (const [i, place] of [...places, bytes.length].entries()) yield bytes.subarray(places[i - 1] ?? 0, place)
}
const collect = async (frames: AsyncIterable<Buffer>): Promise<Buffer[]> => {
  const all: Buffer[] = []
  for await (const each of frames) all.push(each)
  return all
}

describe('frames', () => {
  it('are the same however the stream is cut', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 90 }), { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        async (contents, cuts) => {
          const frames = contents.map((content) => frame(2013, Buffer.from(content)))
          expect(await collect(readFrames(inPieces(Buffer.concat(frames), cuts), limits()))).toEqual(frames)
        },
      ),
    ))

  it.each([
    ['smaller than its header', 15],
    ['negative', -1],
    ['larger than what is taken', 1024 * 1024 + 1],
    ['huge', 0x7fffffff],
  ])('end with one whose length is %s, before anything is kept for it', async (_, length) => {
    const head = Buffer.alloc(64)
    head.writeInt32LE(length, 0)
    await expect(collect(readFrames(inPieces(head, []), limits()))).rejects.toThrow(MalformedError)
  })

  it('end quietly where the stream ends within one', async () => {
    expect(await collect(readFrames(inPieces(frame(2013, Buffer.alloc(100)).subarray(0, 60), [7]), limits()))).toEqual([])
  })

  it('wait for room that others hold, and give it back in every case', async () => {
    const budget = new ByteBudget(300_000)
    const large = frame(2013, Buffer.alloc(200_000))
    const first = readFrames(inPieces(large, []), limits({ budget }))
    await first.next()
    const second = readFrames(inPieces(large, []), limits({ budget }))
    let came = false
    const waiting = second.next().then(() => (came = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(came).toBe(false)
    await first.return(undefined)
    await waiting
    await second.return(undefined)
    await budget.take(300_000)
  })
})
