/** A file is not stored as this reader expects. Never a user's affair: the rows are then read by SQL. */
export class StoredFormError extends Error {
  override readonly name = 'StoredFormError';
}
