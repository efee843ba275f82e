import { ResponseError } from './errors.js';

/**
 * Checks an `Authorization` value as the JWT strategy of libsql-server/src/auth does, but for the
 * token itself: it is compared, not verified.
 */
export function checkAuth(token: string | undefined, header: string | undefined): void {
  if (token === undefined) {
    return;
  }
  if (header === undefined) {
    throw new ResponseError(
      'Expected authorization header but none given',
      'AUTH_HEADER_NOT_FOUND',
    );
  }
  const space = header.indexOf(' ');
  if (space < 0) {
    throw new ResponseError(
      "Auth string does not conform to '<scheme> <token>' form",
      'AUTH_HEADER_MALFORMED',
    );
  }
  if (header.slice(0, space).toLowerCase() !== 'bearer') {
    throw new ResponseError(
      'The authentication scheme in the `Authorization` HTTP header is not supported',
      'AUTH_HTTP_HEADER_UNSUPPORTED_SCHEME',
    );
  }
  if (header.slice(space + 1) !== token) {
    throw new ResponseError('The JWT is invalid', 'AUTH_JWT_INVALID');
  }
}
