import { SEMVER } from '@bloomery/osb'
import { z } from 'zod'
import { ToOne } from '../../http/bodies.js'
import { MetadataInput } from '../../http/metadata.js'

const MAX_TAGS_LENGTH = 2048
const MAX_DRAIN_LENGTH = 10_000
const InstanceName = z.string('must be a string').min(1, "can't be blank").max(255, 'is too long (maximum is 255 characters)')
const Tags = z
  .array(z.string('must be a list of strings'), 'must be a list of strings')
  .refine((tags) => tags.join('').length <= MAX_TAGS_LENGTH, `combined length of tags cannot exceed ${MAX_TAGS_LENGTH}`)
const AnyObject = z.record(z.string(), z.unknown(), 'must be an object')

const isAddress = (text: string, schemes: readonly string[]): boolean =>
  text === '' || (URL.canParse(text) && schemes.includes(new URL(text).protocol) && new URL(text).host !== '')
const SyslogDrainUrl = z
  .string('must be a string')
  .max(MAX_DRAIN_LENGTH, `is too long (maximum is ${MAX_DRAIN_LENGTH} characters)`)
  .refine((url) => isAddress(url, ['syslog:', 'syslog-tls:', 'https:', 'http:']), 'must be a valid URI')
const RouteServiceUrl = z.string('must be a string').refine((url) => isAddress(url, ['https:']), 'must be https')

const userProvided = {
  tags: Tags.nullish(),
  credentials: AnyObject.nullish(),
  // An empty text clears, null too.
  syslog_drain_url: SyslogDrainUrl.nullish(),
  route_service_url: RouteServiceUrl.nullish(),
  metadata: MetadataInput.optional(),
}
export const CreateUserProvided = z.strictObject({
  type: z.literal('user-provided'),
  name: InstanceName,
  relationships: z.strictObject({ space: ToOne }),
  ...userProvided,
})
export const UpdateUserProvided = z.strictObject({ name: InstanceName.optional(), ...userProvided })
export type UpdateUserProvided = z.infer<typeof UpdateUserProvided>

export const CreateManaged = z.strictObject({
  type: z.literal('managed'),
  name: InstanceName,
  relationships: z.strictObject({ space: ToOne, service_plan: ToOne }),
  parameters: AnyObject.nullish(),
  tags: Tags.nullish(),
  metadata: MetadataInput.optional(),
})
export type CreateManaged = z.infer<typeof CreateManaged>
export const UpdateManaged = z.strictObject({
  name: InstanceName.nullish(),
  tags: Tags.nullish(),
  parameters: AnyObject.nullish(),
  relationships: z.strictObject({ service_plan: ToOne }).nullish(),
  maintenance_info: z
    .strictObject({ version: z.string('must be a string').regex(SEMVER, 'should be a semantic version').nullish() })
    .nullish(),
  metadata: MetadataInput.optional(),
})
export type UpdateManaged = z.infer<typeof UpdateManaged>

/** As far as one can look before anything is known about the type. */
export const AnyInstance = z.looseObject({
  type: z.enum(['managed', 'user-provided'], "must be one of 'managed', 'user-provided'"),
})
