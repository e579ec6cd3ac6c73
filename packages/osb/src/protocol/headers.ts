import { z } from 'zod'

/** The version of the specification that our client speaks and our broker serves. */
export const OSB_VERSION = '2.17'
export const VERSION_HEADER = 'x-broker-api-version'
export const IDENTITY_HEADER = 'x-broker-api-originating-identity'
export const REQUEST_IDENTITY_HEADER = 'x-broker-api-request-identity'
/** The word for this platform in contexts and originating identities. */
export const PLATFORM = 'cloudfoundry'

/** On whose behalf the platform asks: the platform's word and what it says of the user. */
export interface OriginatingIdentity {
  readonly platform: string
  readonly value: Readonly<Record<string, unknown>>
}

/** `cloudfoundry eyJ1c2VyX2lkIjoi…`: strict base64 without line breaks. */
export const encodeIdentity = ({ platform, value }: OriginatingIdentity): string =>
  `${platform} ${Buffer.from(JSON.stringify(value)).toString('base64')}`

const Value = z.record(z.string(), z.unknown())

/** Reads an originating identity; undefined where it is malformed. */
export function decodeIdentity(header: string): OriginatingIdentity | undefined {
  const [, platform, encoded] = /^(\S+) ([A-Za-z0-9+/]+={0,2})$/.exec(header) ?? []
  if (platform === undefined || encoded === undefined) return undefined
  try {
    const value = Value.safeParse(JSON.parse(Buffer.from(encoded, 'base64').toString('utf8')))
    return value.success ? { platform, value: value.data } : undefined
  } catch {
    return undefined
  }
}
