/* Measures what an all-reduce of f32 takes over MPI, without heirloom: whether a launcher connects the ranks, and what
 * their link gives.
 *
 *   mpicc -O2 -o allreduce scripts/scale/allreduce.c && mpirun -n 2 ./allreduce [MIB] [TIMES]
 *
 * Rank 0 prints: ranks, MiB, median seconds, and the bytes a second that each rank sends if the library uses a ring,
 * 2 (N-1)/N of the buffer (Patarasuk and Yuan 2009). Exits 1 where the sum is wrong or there is one rank only. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int rank, world;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world);
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 16;
    int times = argc > 2 ? atoi(argv[2]) : 5;
    size_t n = mib * 1024 * 1024 / sizeof(float);
    float *values = malloc(n * sizeof *values);
    double *seconds = calloc(times > 0 ? times : 1, sizeof *seconds);
    int wrong = world < 2 || times < 1 || n == 0 || values == NULL || seconds == NULL;
    for (int t = 0; !wrong && t < times; t++) {
        for (size_t i = 0; i < n; i++)
            values[i] = (float)(rank + 1);
        MPI_Barrier(MPI_COMM_WORLD);
        double began = MPI_Wtime();
        MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        seconds[t] = MPI_Wtime() - began;
        float sum = (float)world * (float)(world + 1) / 2;
        wrong = values[0] != sum || values[n - 1] != sum;
    }
    if (rank == 0 && !wrong) {
        qsort(seconds, times, sizeof *seconds, compare);
        double median = seconds[times / 2];
        double sent = 2.0 * (world - 1) / world * (double)n * sizeof(float);
        printf("%d ranks, %zu MiB: %.4f s, %.3f Gbit/s sent by each rank\n", world, mib, median, 8e-9 * sent / median);
    }
    if (wrong)
        fprintf(stderr, "rank %d of %d: no sum over several ranks\n", rank, world);
    MPI_Finalize();
    return wrong;
}
