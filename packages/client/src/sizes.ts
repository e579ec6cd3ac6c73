import { ClientError } from './errors.js'

const UNITS: Readonly<Record<string, number>> = { B: 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }

/** Bytes of "64M", "1.5GB", "512K" as cf takes them. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([BKMGT])B?$/i.exec(text.trim())
  const unit = UNITS[(match?.[2] ?? '').toUpperCase()]
  if (!match?.[1] || unit === undefined)
    throw new ClientError('bad-argument', `'${text}' is no size. Give a number with a unit, such as 512M or 1G.`)
  return Math.round(Number(match[1]) * unit)
}

export const parseMegabytes = (text: string): number => Math.floor(parseSize(text) / UNITS_PER_MB)
const UNITS_PER_MB = 1024 ** 2

/** Bytes per second of "16K", "1M" or a plain number; -1 is unlimited. */
export const parseLogRate = (text: string): number => (/^(-1|\d+)$/.test(text.trim()) ? Number(text) : parseSize(text))

/** As cf prints sizes: "1G", "64M", "12.5K". */
export function formatSize(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const size = UNITS[unit] ?? 1
    if (bytes >= size) return `${Number((bytes / size).toFixed(1))}${unit}`
  }
  return `${bytes}B`
}
