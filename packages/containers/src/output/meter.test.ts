import { OutputMeter } from './meter.js'

const metered = (rate: number) => {
  const lines: string[] = []
  const meter = new OutputMeter(rate, (stream, text) => lines.push(`${stream} ${text.toString()}`), 0)
  return { meter, lines }
}

describe('OutputMeter', () => {
  it('cuts chunks into lines, leaves out empty ones and ends with what has no newline', () => {
    const { meter, lines } = metered(-1)
    meter.feed('OUT', Buffer.from('a\n\nb'), 0)
    meter.feed('ERR', Buffer.from('x\n'), 0)
    meter.feed('OUT', Buffer.from('c\nd'), 0)
    meter.end('OUT', 0)
    meter.end('ERR', 0)
    expect(lines).toEqual(['OUT a', 'ERR x', 'OUT bc', 'OUT d'])
  })

  it('lets one second of bytes pass, says so once, and begins anew a second later', () => {
    const { meter, lines } = metered(10)
    const limit = 'OUT app instance exceeded log rate limit (10 bytes/sec)'
    meter.feed('OUT', Buffer.from('12345\n12345\n1\n2\n3\n'), 0)
    meter.feed('ERR', Buffer.from('half of a li'), 999)
    meter.feed('ERR', Buffer.from('ne\nwhole\n'), 1000)
    meter.feed('OUT', Buffer.from('1234567890\n'), 3000)
    expect(lines).toEqual(['OUT 12345', 'OUT 12345', limit, 'ERR whole', 'OUT 1234567890'])
  })

  it('lets nothing through at a rate of 0, not even the word of it', () => {
    const { meter, lines } = metered(0)
    meter.feed('OUT', Buffer.from('a\nb\n'), 0)
    meter.end('OUT', 5000)
    expect(lines).toEqual([])
  })

  it('bounds the number of lines, however small they are', () => {
    const { meter, lines } = metered(1024 * 1024)
    meter.feed('OUT', Buffer.from('y\n'.repeat(20_000)), 0)
    expect(lines).toHaveLength(10_001)
    expect(lines.at(-1)).toBe('OUT app instance exceeded log rate limit (10000 log-lines/sec) set by platform operator')
  })

  it('drops nothing of unlimited output, but asks its reader to wait', () => {
    const { meter, lines } = metered(-1)
    meter.feed('OUT', Buffer.from('y\n'.repeat(100_001)), 0)
    expect(lines).toHaveLength(100_001)
    expect(meter.pauseMs(0)).toBeGreaterThan(0)
    expect(meter.pauseMs(1000)).toBe(0)
  })

  it('cuts a line at 60 KiB', () => {
    const { meter, lines } = metered(-1)
    meter.feed('OUT', Buffer.from(`${'x'.repeat(100_000)}\n`), 0)
    expect(lines.map(({ length }) => length - 4)).toEqual([61_440, 38_560])
  })
})
