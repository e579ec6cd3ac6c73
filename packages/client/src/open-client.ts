import { CloudClient } from './cloud-client.js'
import { Http } from './http.js'
import { type Credentials, discover, requestTokens, Session, type Tokens } from './session.js'

/** Targets an API, logs in and gives the client of that login; for programs, which keep no configuration. */
export async function openClient(options: {
  readonly api: string
  readonly credentials: Credentials
  readonly skipSslValidation?: boolean
  readonly onTokens?: (tokens: Tokens) => void
  readonly onWarning?: (warning: string) => void
}): Promise<CloudClient> {
  const http = new Http({ skipSslValidation: options.skipSslValidation === true })
  const endpoints = await discover(http, options.api)
  const tokens = await requestTokens(http, endpoints, options.credentials)
  return new CloudClient(http, endpoints, new Session(http, endpoints, tokens, options.onTokens), options.onWarning)
}
