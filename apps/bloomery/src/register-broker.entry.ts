import { ApiError, ClientError, openClient } from '@bloomery/client'
import { ConfigError, parseEnvironment } from '@bloomery/config'
import { z } from 'zod'
import { RegistrationError, registerBroker } from './register-broker.js'

// A program of its own, so that the launcher need not carry the client in memory. Prints what it has done, a line each.
const RegistrationEnv = z.object({
  BLOOMERY_API: z.string(),
  BLOOMERY_ADMIN_PASSWORD: z.string(),
  BLOOMERY_HOME: z.string(),
  /** Address at which the api reaches the bundled service broker. */
  BLOOMERY_BROKER_URL: z.string(),
  BLOOMERY_BROKER_USERNAME: z.string().default('bloomery'),
  BLOOMERY_BROKER_PASSWORD: z.string(),
})

try {
  const env = parseEnvironment(RegistrationEnv, process.env)
  const client = await openClient({
    api: env.BLOOMERY_API,
    credentials: { kind: 'password', username: 'admin', password: env.BLOOMERY_ADMIN_PASSWORD },
  })
  await registerBroker({
    client,
    home: env.BLOOMERY_HOME,
    broker: { url: env.BLOOMERY_BROKER_URL, username: env.BLOOMERY_BROKER_USERNAME, password: env.BLOOMERY_BROKER_PASSWORD },
    again: process.argv.includes('--again'),
    say: (line) => console.log(line),
  })
  process.exit(0)
} catch (error) {
  // These are meant for people; of anything else all is shown.
  const told = [ApiError, ClientError, ConfigError, RegistrationError].some((known) => error instanceof known)
  console.log(told && error instanceof Error ? error.message : error)
  process.exit(1)
}
