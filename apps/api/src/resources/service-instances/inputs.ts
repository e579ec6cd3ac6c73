import { z } from 'zod'
import { ResourceName, ToOne } from '../../http/bodies.js'
import { MetadataInput } from '../../http/metadata.js'

const MAX_TAGS_LENGTH = 2048
const Tags = z
  .array(z.string('must be a list of strings'), 'must be a list of strings')
  .refine((tags) => tags.join('').length <= MAX_TAGS_LENGTH, `combined length of tags cannot exceed ${MAX_TAGS_LENGTH}`)
const Credentials = z.record(z.string(), z.unknown(), 'must be an object')

const isAddress = (text: string, schemes: readonly string[]): boolean =>
  text === '' || (URL.canParse(text) && schemes.includes(new URL(text).protocol) && new URL(text).host !== '')
const SyslogDrainUrl = z
  .string('must be a string')
  .refine((url) => isAddress(url, ['syslog:', 'syslog-tls:', 'https:', 'http:']), 'must be a valid URI')
const RouteServiceUrl = z.string('must be a string').refine((url) => isAddress(url, ['https:']), 'must be https')

const shared = {
  tags: Tags.nullish(),
  credentials: Credentials.nullish(),
  // An empty text clears, null too.
  syslog_drain_url: SyslogDrainUrl.nullish(),
  route_service_url: RouteServiceUrl.nullish(),
  metadata: MetadataInput.optional(),
}
export const CreateUserProvided = z.strictObject({
  type: z.literal('user-provided'),
  name: ResourceName,
  relationships: z.strictObject({ space: ToOne }),
  ...shared,
})
export const UpdateUserProvided = z.strictObject({ name: ResourceName.optional(), ...shared })
export type UpdateUserProvided = z.infer<typeof UpdateUserProvided>
/** As far as one can look before anything is known about the type. */
export const AnyInstance = z.looseObject({
  type: z.enum(['managed', 'user-provided'], "must be one of 'managed', 'user-provided'"),
})
