import { createHash, randomInt } from 'node:crypto'

/** A name that every engine takes (letters, digits, at most 24), the same each time for the same guid. */
export const shortName = (prefix: string, guid: string): string =>
  `${prefix}${createHash('sha256')
    .update(guid)
    .digest('hex')
    .slice(0, 23 - prefix.length)}`

const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789'

/** 32 characters that need no quoting in URLs, shells and configuration files. */
export const newPassword = (): string => Array.from({ length: 32 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')
