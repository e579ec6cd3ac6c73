import { z } from 'zod'
import { ToOne } from '../../http/bodies.js'
import { MetadataInput } from '../../http/metadata.js'

const BrokerName = z
  .string('must be a string')
  .min(1, 'must not be empty string')
  .max(255, 'is too long (maximum is 255 characters)')
const BrokerUrl = z.string('must be a string').superRefine((url, context) => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !['http:', 'https:'].includes(parsed.protocol)) context.addIssue(`'${url}' must be a valid url`)
  // The address itself may hold what is secret; it is not repeated.
  else if (parsed.username !== '' || parsed.password !== '') context.addIssue('must not contain authentication')
})
const Authentication = z.strictObject({
  type: z.literal('basic', "authentication.type must be one of ['basic']"),
  credentials: z.strictObject({ username: z.string('must be a string'), password: z.string('must be a string') }),
})
export const CreateBroker = z.strictObject({
  name: BrokerName,
  url: BrokerUrl,
  authentication: Authentication,
  relationships: z.strictObject({ space: ToOne.optional() }).optional(),
  metadata: MetadataInput.optional(),
})
export const UpdateBroker = z.strictObject({
  name: BrokerName.optional(),
  url: BrokerUrl.optional(),
  authentication: Authentication.optional(),
  metadata: MetadataInput.optional(),
})
